"""A child-sum Tree-LSTM over random trees, level by level, beside NumPy node by node and PyTorch
level by level: medians of interleaved rounds.

Given as trees,nodes,I,H (nodes of each tree). float32. Results are compared first. NumPy, which
shows what it costs to go node by node, only runs forward; PyTorch's levels are those of gpurnn.
"""

import argparse

SHAPES = ((64, 40, 64, 128), (256, 20, 128, 256), (1, 2000, 64, 128))


def parse(arguments):
    from bench import options as common

    parser = argparse.ArgumentParser("python -m bench.trees", description=__doc__)
    parser.add_argument("--shape", action="append", type=common.sizes("N,n,I,H"), metavar="N,n,I,H")
    common.add_common(parser, rounds=15, seconds=10)
    return parser.parse_args(arguments)


def random_trees(count, nodes, rng):
    """Trees whose nodes hang on any earlier one."""
    import numpy as np

    import gpurnn

    parents = [
        [-1, *(rng.integers(0, np.arange(1, nodes)) if nodes > 1 else ())] for _ in range(count)
    ]
    return gpurnn.Trees.concatenate(gpurnn.Trees(p) for p in parents)


def node_by_node(layer, x, trees):
    """A function that returns the hidden states."""
    import numpy as np

    w, units = layer.params, layer.hidden_size

    def sigmoid(a):
        return 1 / (1 + np.exp(-a))

    def run():
        h_sum = np.zeros((len(trees), units), x.dtype)
        h = np.empty_like(h_sum)
        carried = np.zeros_like(h_sum)
        for node in trees.order:
            parent = trees.parents[node]
            sums = w["weight_ih"] @ x[node] + w["bias"]
            i, g, o = np.split(sums[: 3 * units] + w["weight_hh"] @ h_sum[node], 3)
            c = sigmoid(i) * np.tanh(g) + carried[node]
            h[node] = sigmoid(o) * np.tanh(c)
            if parent >= 0:
                f = w["weight_ih"][3 * units :] @ x[parent] + w["bias"][3 * units :]
                h_sum[parent] += h[node]
                carried[parent] += sigmoid(f + w["weight_fh"] @ h[node]) * c
        return (h,)

    return run


def pytorch_levels(torch, layer, x, trees, dy, training):
    """A function that returns the hidden states and, in training, dx and the gradients."""
    import numpy as np

    x = torch.from_numpy(x).requires_grad_(training)
    dy, units = torch.from_numpy(dy), layer.hidden_size
    w = {n: torch.from_numpy(a.copy()).requires_grad_(training) for n, a in layer.params.items()}
    parents, levels = trees.parents, []
    for height in range(trees.heights.max() + 1):
        nodes = np.flatnonzero(trees.heights == height)
        children = np.flatnonzero((parents >= 0) & np.isin(parents, nodes))
        of = np.searchsorted(nodes, parents[children])
        levels.append([torch.from_numpy(a) for a in (nodes, children, of, parents[children])])

    def forward():
        xg = torch.nn.functional.linear(x, w["weight_ih"], w["bias"])
        h, c = (torch.zeros(len(trees), units) for _ in range(2))
        for nodes, children, of, owners in levels:
            none = torch.zeros(len(nodes), units)
            below = h[children]
            h_sum = none.index_add(0, of, below)
            i, g, o = (xg[nodes, : 3 * units] + h_sum @ w["weight_hh"].T).chunk(3, 1)
            f = torch.sigmoid(xg[owners, 3 * units :] + below @ w["weight_fh"].T)
            carried = none.index_add(0, of, f * c[children])
            new = torch.sigmoid(i) * torch.tanh(g) + carried
            c[nodes] = new
            h[nodes] = torch.sigmoid(o) * torch.tanh(new)
        return h

    def infer():
        with torch.no_grad():
            return (forward(),)

    def train():
        for tensor in (x, *w.values()):
            tensor.grad = None
        h = forward()
        h.backward(dy)
        return (h.detach(), x.grad, *(tensor.grad for tensor in w.values()))

    return train if training else infer


def peers(shape, training, torch):
    """By name a function that returns its results."""
    import numpy as np

    import gpurnn

    count, nodes, inputs, units = shape
    rng = np.random.default_rng(1)
    trees = random_trees(count, nodes, rng)
    layer = gpurnn.ChildSumTreeLSTM(inputs, units, rng=1)
    x, dy = (rng.standard_normal((len(trees), size), np.float32) for size in (inputs, units))

    def infer():
        return (layer(x, trees)[0],)

    def train():
        layer.zero_grads()
        y, _, backward = layer.forward(x, trees)
        return (y, backward(dy), *layer.grads.values())

    runs = {"gpurnn": train if training else infer}
    if not training:
        runs["node by node"] = node_by_node(layer, x, trees)
    if torch:
        runs["torch"] = pytorch_levels(torch, layer, x, trees, dy, training)
    return runs


def main(arguments=None):
    options = parse(arguments)
    from bench.beside_torch import beside_torch
    from bench.side_by_side import side_by_side

    with beside_torch(options.threads) as torch:
        for shape in options.shape or SHAPES:
            for training in (False, True):
                side_by_side(shape, training, peers(shape, training, torch), options)


if __name__ == "__main__":
    main()
