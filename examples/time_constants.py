"""A cell with weights of its own: every unit learns how slow it is.

C. Tallec and Y. Ollivier, "Can recurrent neural networks warp time?", 2018: a leaky unit
h = h + a (tanh(W x + U h + b) - h), which remembers for about 1 / a steps, takes well to tasks
whose time scale it shares. Here each unit has a weight w of its own, a = sigmoid(w). The task: two
running means of noise, one over 2 steps, one over 50. At its side a simple network, whose a is 1.

    python examples/time_constants.py
"""

import numpy as np

import gpurnn
from gpurnn.kernels.mathematics import sigmoid, tanh

STEPS, STREAMS, HIDDEN = 200, 16, 16
SPANS = 2, 50


def leaky_unit(x, h, state, extra):
    """h + a (tanh(W x + U h + b) - h)."""
    a = sigmoid(extra[0])
    return state[0] + a * (tanh(x[0] + h[0]) - state[0])


LEAKY = gpurnn.derive_cell(leaky_unit, gates=1, weights=["weight_rate"])


def draw(rng):
    """(noise (T, B, 1), its running means (T, B, 2), scaled to a variance of 1)."""
    x = rng.standard_normal((STEPS, STREAMS, 1), np.float32)
    rates = 1 / np.array(SPANS, np.float32)
    means = [np.zeros((STREAMS, len(SPANS)), np.float32)]
    for step in x:
        means.append(means[-1] + rates * (step - means[-1]))
    return x, np.stack(means[1:]) * np.sqrt(2 / rates - 1)


def train(cell, updates, device="cpu", seed=0):
    """(the layer, the last tenth's mean squared errors of either mean)."""
    rng = np.random.default_rng(seed)
    layer = gpurnn.Recurrent(cell, 1, HIDDEN, device=device, rng=seed)
    readout = gpurnn.Linear(HIDDEN, len(SPANS), device=device, rng=seed)
    optimizers = [gpurnn.Adam(part, lr=1e-2) for part in (layer, readout)]
    errors = []
    for _ in range(updates):
        x, target = (gpurnn.arrays.to_device(a, device) for a in draw(rng))
        y, _, back = layer.forward(x)
        means, back_readout = readout.forward(y)
        _, dmeans = gpurnn.mean_squared_error(means, target)
        layer.zero_grads()
        readout.zero_grads()
        back(back_readout(dmeans))
        gpurnn.clip_grad_norm(layer, 1.0)
        for optimizer in optimizers:
            optimizer.step()
        errors.append(gpurnn.arrays.to_numpy((means - target) ** 2).mean((0, 1)))
    return layer, np.mean(errors[-(updates // 10) :], axis=0)


def main(updates=500):
    """Print the errors and the time constants learnt; returns the errors by the cells' names."""
    device, errors = "cuda" if gpurnn.cuda.is_available() else "cpu", {}
    for cell in (LEAKY, gpurnn.cells.RNN_TANH):
        layer, errors[cell.name] = train(cell, updates, device)
        fast, slow = errors[cell.name]
        print(f"{cell.name:<12} mean over 2 steps: error {fast:.3f}, over 50 steps: {slow:.3f}")
        if cell.weights:
            rates = 1 / (1 + np.exp(-layer.state_dict()["weight_rate_l0"]))
            print("  steps remembered:", *np.round(1 / np.sort(rates)[::-1], 1))
    return errors


if __name__ == "__main__":
    main()
