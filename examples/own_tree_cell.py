"""A tree's cell of one's own: gates that can turn a sign, for sums in brackets.

The trees are expressions such as 3 - (1 - 4 + 2): a node is a digit or a bracket, with a plus or a
minus ahead of it. A child-sum Tree-LSTM (Tai et al. 2015) lets children through by gates from 0 to
1; here they are from -1 to 1, so that a bracket can turn the signs of all that it holds.

    python examples/own_tree_cell.py
"""

import numpy as np

import gpurnn
from gpurnn.kernels.mathematics import sigmoid, sigmoid_slope, tanh, tanh_slope

HIDDEN, BATCH = 16, 64


def child(x, h, c):
    """What a child's c adds, and the gate it came through."""
    f = tanh(x + h)
    return f * c, f


def child_back(f, c, dcarried):
    return dcarried * c * tanh_slope(f), dcarried * f


def node(x, h, state):
    """c = i g + sum of f_k c_k, and the hidden state is tanh(c)."""
    (carried,) = state
    i, g = sigmoid(x[0] + h[0]), tanh(x[1] + h[1])
    c = i * g + carried
    return (tanh(c), c), (i, g)


def node_back(saved, state, new, dnew):
    i, g = saved
    dc = dnew[1] + dnew[0] * tanh_slope(new[0])
    da = dc * g * sigmoid_slope(i), dc * i * tanh_slope(g)
    return da, da, (dc,)


SIGNED = gpurnn.TreeCell("signed", 2, 2, 2, node, node_back, child, child_back)


def expression(rng, depth=3):
    """(nodes as (sign, digit or None), parents, value) of a random one; node 0 is its root."""
    sign = rng.choice([1, -1])
    if depth == 0 or (depth < 3 and rng.random() < 0.4):
        digit = rng.integers(1, 10)
        return [(sign, digit)], [-1], sign * digit
    nodes, parents, value = [(sign, None)], [-1], 0
    for _ in range(rng.integers(2, 4)):
        below, links, more = expression(rng, depth - 1)
        parents += [0 if link < 0 else link + len(nodes) for link in links]
        nodes, value = nodes + below, value + sign * more
    return nodes, parents, value


def draw(rng):
    """A batch: features (nodes, 3), trees, and the values (BATCH, 1), in tens."""
    expressions = [expression(rng) for _ in range(BATCH)]
    trees = gpurnn.Trees.concatenate(gpurnn.Trees(parents) for _, parents, _ in expressions)
    rows = [(s, s * (d or 0) / 10, d is None) for nodes, _, _ in expressions for s, d in nodes]
    values = np.array([[value / 10] for _, _, value in expressions], np.float32)
    return np.array(rows, np.float32), trees, values


def train(layer, updates, seed=0):
    """The share of the values' variance that is left unexplained, over the last tenth."""
    rng, readout = np.random.default_rng(seed), gpurnn.Linear(HIDDEN, 1, rng=seed)
    optimizers = [gpurnn.Adam(part, lr=1e-2) for part in (layer, readout)]
    left = []
    for _ in range(updates):
        x, trees, values = draw(rng)
        _, (h, c), back = layer.forward(x, trees)
        guesses, back_readout = readout.forward(c)
        loss, dguesses = gpurnn.mean_squared_error(guesses, values)
        layer.zero_grads()
        readout.zero_grads()
        back(droots=(np.zeros_like(h), back_readout(dguesses)))
        for optimizer in optimizers:
            optimizer.step()
        left.append(float(loss) / values.var())
    return np.mean(left[-(updates // 10) :])


def main(updates=400):
    """Print and return by name how much of the values' variance is left unexplained."""
    print(gpurnn.check_cell(SIGNED, devices=[]))
    layers = {
        "signed gates": gpurnn.TreeNetwork(SIGNED, 3, HIDDEN, rng=0),
        "Tree-LSTM": gpurnn.ChildSumTreeLSTM(3, HIDDEN, rng=0),
    }
    left = {name: train(layer, updates) for name, layer in layers.items()}
    for name, share in left.items():
        print(f"{name:<13} leaves {share:.1%} of the variance unexplained")
    return left


if __name__ == "__main__":
    main()
