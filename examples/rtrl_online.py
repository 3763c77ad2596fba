"""Learn at every step of an endless stream, and remember nothing of it but the state.

Bits arrive one at a time. At each step the network shall say the exclusive or of the last two
bits before: no single bit helps, and what is needed must have been kept in the hidden units. The
parameters change after every step; nothing is ever run backwards through time.

    python examples/rtrl_online.py
"""

import numpy as np

import gpurnn

STREAMS, HIDDEN = 16, 16


def learn(method, steps, seed=0):
    """Loss of each step, in bits."""
    rng = np.random.default_rng(seed)
    layer = gpurnn.GRU(1, HIDDEN, rng=seed)
    readout = gpurnn.Linear(HIDDEN, 1, rng=seed)
    rtrl = gpurnn.RTRL(layer, STREAMS, method, rng=seed)
    optimizers = [gpurnn.Adam(layer, lr=1e-2), gpurnn.Adam(readout, lr=1e-2)]
    bits = rng.integers(0, 2, (steps, STREAMS, 1)).astype(np.float32)
    losses = []
    for t in range(2, steps):
        target = np.abs(bits[t - 1] - bits[t - 2])
        layer.zero_grads()
        readout.zero_grads()
        logits, backward = readout.forward(rtrl.step(2 * bits[t] - 1))
        loss, dlogits = gpurnn.sigmoid_cross_entropy(logits, target)
        rtrl.learn(backward(dlogits))
        for optimizer in optimizers:
            optimizer.step()
        losses.append(float(loss) / np.log(2))
    return np.array(losses)


def main(steps=2500):
    """The loss as it falls, by method; 1 bit is a guess. Returns the last means."""
    last = {}
    for method in ("exact", "snap1", "uoro", "rflo"):
        means = [part.mean() for part in np.array_split(learn(method, steps), 8)]
        print(f"{method:<6}" + "".join(f"{mean:7.3f}" for mean in means), flush=True)
        last[method] = means[-1]
    return last


if __name__ == "__main__":
    main()
