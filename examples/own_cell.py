"""A cell of one's own: the minimal gated unit of Zhou et al. 2016, beside the GRU.

G.-B. Zhou, J. Wu, C.-L. Zhang and Z.-H. Zhou, "Minimal gated unit for recurrent neural
networks". One gate f both forgets and resets; a third of the GRU's parameters is spared. Only
the way forward is written here. The task: to say the last but one bit of a stream of bits.

    python examples/own_cell.py
"""

import numpy as np

import gpurnn
from gpurnn.kernels.mathematics import sigmoid, tanh

STEPS, STREAMS, HIDDEN = 40, 32, 16


def forget_gate(x, h, state):
    """f, and what the candidate sees of the hidden state: f h."""
    f = sigmoid(x[0] + h[0])
    return f * state[0], (f,)


def minimal_gated_unit(x, h, state, kept):
    """(1 - f) h + f tanh(W x + U (f h) + b)."""
    (f,) = kept
    n = tanh(x[0] + h[0])
    return (1 - f) * state[0] + f * n


def train(cell, updates, device="cpu", seed=0):
    """The losses in bits, one an update."""
    rng = np.random.default_rng(seed)
    layer = gpurnn.Recurrent(cell, 1, HIDDEN, device=device, rng=seed)
    readout = gpurnn.Linear(HIDDEN, 1, device=device, rng=seed)
    optimizers = [gpurnn.Adam(part, lr=1e-2) for part in (layer, readout)]
    losses = []
    for _ in range(updates):
        bits = rng.integers(0, 2, (STEPS + 1, STREAMS, 1)).astype(np.float32)
        x, target = (gpurnn.arrays.to_device(a, device) for a in (2 * bits[1:] - 1, bits[:-1]))
        y, _, back = layer.forward(x)
        logits, back_readout = readout.forward(y)
        loss, dlogits = gpurnn.sigmoid_cross_entropy(logits, target)
        layer.zero_grads()
        readout.zero_grads()
        back(back_readout(dlogits))
        for optimizer in optimizers:
            optimizer.step()
        losses.append(float(loss) / np.log(2))
    return losses


def main(updates=150):
    """Print the derived source and the losses; returns the last loss of either cell."""
    cell = gpurnn.derive_cell(minimal_gated_unit, gates=2, late=1, gate=forget_gate)
    print(cell.source)
    device, last = "cuda" if gpurnn.cuda.is_available() else "cpu", {}
    for each in (cell, gpurnn.cells.GRU_RESET_BEFORE):
        losses = train(each, updates, device)
        means = [np.mean(part) for part in np.array_split(losses, 6)]
        print(f"{each.name:<20}" + "".join(f"{mean:7.3f}" for mean in means) + "  bits")
        last[each.name] = losses[-1]
    return last


if __name__ == "__main__":
    main()
