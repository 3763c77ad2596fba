"""`python -m bench.own_cell`: a cell derived from its way forward beside the same one built in.

The derived cell is a copy of the GRU's formula; results are compared first, then both take turns,
and medians are shown. CPU only.
"""

import argparse

import numpy as np

import gpurnn
from bench.measuring import time_interleaved
from gpurnn.kernels.mathematics import sigmoid, tanh

SIZES = [(100, 1, 128, 128), (100, 32, 128, 128), (100, 32, 256, 256)]  # T, B, I, H


def gru(x, h, state):
    """Cho et al. 2014, with the reset gate after the product."""
    r = sigmoid(x[0] + h[0])
    z = sigmoid(x[1] + h[1])
    n = tanh(x[2] + r * h[2])
    return n + z * (state[0] - n)


def runs(cell, size, mode):
    """A function that does one call of the mode and returns y, and dx of training."""
    steps, batch, inputs, hidden = size
    layer = gpurnn.Recurrent(cell, inputs, hidden, rng=0)
    x = np.random.default_rng(0).standard_normal((steps, batch, inputs), np.float32)

    def train():
        y, _, backward = layer.forward(x)
        return y, backward(y)[0]

    return train if mode == "training" else lambda: (layer(x)[0],)


def main():
    """Print a table of times and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=20.0, help="at most, for a size and mode")
    options = parser.parse_args()
    cells = {
        "derived": gpurnn.derive_cell(gru, gates=3),
        "built in": gpurnn.cells.GRU_RESET_AFTER,
    }
    print(f"{'T,B,I,H':>16} {'mode':>10} {'derived ms':>11} {'built in ms':>12} {'ratio':>7}")
    for size in SIZES:
        for mode in ("inference", "training"):
            functions = {name: runs(cell, size, mode) for name, cell in cells.items()}
            results = [function() for function in functions.values()]
            for a, b in zip(*results):
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
            times = time_interleaved(functions, options.rounds, options.seconds)
            derived, built_in = (1e3 * float(np.median(times[name])) for name in cells)
            name = ",".join(map(str, size))
            print(
                f"{name:>16} {mode:>10} {derived:>11.2f} {built_in:>12.2f} "
                f"{built_in / derived:>7.2f}"
            )


if __name__ == "__main__":
    main()
