"""Light recurrences, scans over time, beside NumPy step by step and beside gpurnn's own GRU or
LSTM of the same sizes: medians of interleaved rounds.

Given as T,B,I,H. float32. Results are compared with NumPy's first, which only runs forward; the GRU
or LSTM computes something else, and shows what a recurrent product in the loop costs.
"""

import argparse

SHAPES = ((1000, 1, 64, 64), (4000, 1, 128, 128), (1000, 16, 64, 64), (100, 32, 256, 256))
LAYERS = {"MinGRU": "GRU", "MinLSTM": "LSTM"}


def parse(arguments):
    from bench import options as common

    parser = argparse.ArgumentParser("python -m bench.scan", description=__doc__)
    parser.add_argument("--layer", action="append", choices=LAYERS)
    parser.add_argument("--shape", action="append", type=common.sizes("T,B,I,H"), metavar="T,B,I,H")
    common.add_common(parser, rounds=15, seconds=5)
    return parser.parse_args(arguments)


def step_by_step(layer, x):
    """A function that returns the states, by the cell's own mathematics, on NumPy arrays."""
    import numpy as np

    weight, bias = layer.params["weight_ih_l0"], layer.params["bias_ih_l0"]
    step, (steps, batch, _), units = layer.cell.step, x.shape, layer.hidden_size

    def run():
        products = x @ weight.T + bias
        h = np.zeros((batch, units), x.dtype)
        y = np.empty((steps, batch, units), x.dtype)
        for t in range(steps):
            h, y[t] = step(np.split(products[t], layer.cell.gates, axis=1), h)
        return (y,)

    return run


def run_of(layer, x, dy, training):
    """A function that returns y and, in training, dx and the gradients."""

    def infer():
        return (layer(x)[0],)

    def train():
        layer.zero_grads()
        y, _, backward = layer.forward(x)
        return (y, backward(dy)[0], *layer.grads.values())

    return train if training else infer


def peers(kind, shape, training):
    """The functions that compute the same, by name, and those that do not."""
    import numpy as np

    import gpurnn

    steps, batch, inputs, units = shape
    rng = np.random.default_rng(1)
    x, dy = (rng.standard_normal((steps, batch, size), np.float32) for size in (inputs, units))
    layer, loop = (getattr(gpurnn, name)(inputs, units, rng=1) for name in (kind, LAYERS[kind]))
    same = {kind: run_of(layer, x, dy, training)}
    if not training:
        same["NumPy"] = step_by_step(layer, x)
    return same, {LAYERS[kind]: run_of(loop, x, dy, training)}


def main(arguments=None):
    options = parse(arguments)
    from bench.threads import limit_threads

    limit_threads(options.threads)
    import gpurnn
    from bench import load, report
    from bench.side_by_side import side_by_side

    gpurnn.set_num_threads(options.threads)
    print(report.heading(report.describe_machine("cpu", options.threads), {}))
    meanwhile = load.Load()
    for kind in options.layer or LAYERS:
        print(kind)
        for shape in options.shape or SHAPES:
            for training in (False, True):
                same, unlike = peers(kind, shape, training)
                side_by_side(shape, training, same, options, unlike)
    if busy := load.warning(meanwhile.of_others()):
        print(busy)


if __name__ == "__main__":
    main()
