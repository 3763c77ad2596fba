"""Networks over trees: against plain NumPy, finite differences, the LSTM and across devices."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpurnn
from gpurnn.arrays import to_device, to_numpy
from tests import reference_trees as reference
from tests.cases import TOLERANCE
from tests.differences import assert_is_gradient

I = 3
MAKE = {
    "tanh": partial(gpurnn.RecursiveNetwork, children=3),
    "relu": partial(gpurnn.RecursiveNetwork, children=3, nonlinearity="relu"),
    "child-sum": gpurnn.ChildSumTreeLSTM,
    "n-ary": partial(gpurnn.TreeLSTM, children=3),
}
NODE = {
    "tanh": lambda w: partial(reference.recursive, w, np.tanh),
    "relu": lambda w: partial(reference.recursive, w, lambda a: np.maximum(a, 0)),
    "child-sum": lambda w: partial(reference.child_sum_lstm, w),
    "n-ary": lambda w: partial(reference.nary_lstm, w),
}
SHAPES = {
    "single": [-1],
    "chain": [1, 2, 3, 4, -1],
    "star": [3, 3, 3, -1],
    "forest": [2, 2, 6, 4, 6, -1, 7, -1, 5, -1, 9, 9],
}


def make_layer(kind, hidden, dtype="float64", device="cpu"):
    layer = MAKE[kind](I, hidden, dtype=dtype, rng=5)
    return layer.to(device)


def features(count, width=I, seed=2):
    return np.random.default_rng(seed).standard_normal((count, width))


def children_of(trees, places=3):
    children = [[-1] * places for _ in range(len(trees))]
    for node, (parent, position) in enumerate(zip(trees.parents, trees.positions)):
        if parent >= 0:
            children[parent][position] = node
    return children


def states_of(roots):
    return roots if isinstance(roots, tuple) else (roots,)


def assert_like_reference(kind, trees, layer):
    x, names = features(len(trees)), "hc"[: layer._cell.states]
    weights = {name: to_numpy(a).astype(np.float64) for name, a in layer.params.items()}
    node = NODE[kind](weights)
    expected = reference.run(node, names, layer.hidden_size, x, children_of(trees))
    y, roots = layer(to_device(x.astype(layer.dtype), layer.device), trees)
    tolerance = TOLERANCE[str(layer.dtype)]
    np.testing.assert_allclose(to_numpy(y), expected["h"], rtol=0, atol=tolerance)
    for name, state in zip(names, states_of(roots), strict=True):
        np.testing.assert_allclose(
            to_numpy(state), expected[name][trees.roots], rtol=0, atol=tolerance
        )


@pytest.mark.parametrize("kind", MAKE)
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_node_by_node(kind, shape, device):
    trees = gpurnn.Trees(SHAPES[shape])
    assert_like_reference(kind, trees, make_layer(kind, 5, device=device))


def test_float32(device):
    layer = make_layer("n-ary", 19, "float32", device)
    assert_like_reference("n-ary", gpurnn.Trees(SHAPES["forest"]), layer)


@st.composite
def forests(draw):
    """Trees of up to 24 nodes in any order, with at most 3 children a node, in any places."""
    count, parents, positions = draw(st.integers(1, 24)), [], []
    free = []
    for node in range(count):
        slot = draw(st.sampled_from([None, *free]))
        parents.append(-1 if slot is None else slot[0])
        positions.append(0 if slot is None else slot[1])
        free = [s for s in free if s != slot] + [(node, p) for p in range(3)]
    shuffled = np.array(draw(st.permutations(range(count))))
    new_parents, new_positions = np.empty(count, int), np.empty(count, int)
    new_parents[shuffled] = [-1 if p < 0 else shuffled[p] for p in parents]
    new_positions[shuffled] = positions
    return gpurnn.Trees(new_parents, new_positions)


@given(trees=forests(), kind=st.sampled_from(sorted(MAKE)))
def test_any_forest_equals_node_by_node(trees, kind):
    assert_like_reference(kind, trees, make_layer(kind, 5))


@pytest.mark.parametrize("kind", ["tanh", "child-sum", "n-ary"])
def test_gradients_are_those_of_finite_differences(kind):
    trees, layer = gpurnn.Trees(SHAPES["forest"]), make_layer(kind, 2)
    x, dy = features(len(trees)), features(len(trees), 2, 3)
    of_roots = [features(len(trees.roots), 2, 4 + n) for n in range(layer._cell.states)]

    def loss():
        y, roots = layer(x, trees)
        return (y * dy).sum() + sum((s * d).sum() for s, d in zip(states_of(roots), of_roots))

    _, _, backward = layer.forward(x, trees)
    dx = backward(dy, of_roots[0] if len(of_roots) == 1 else tuple(of_roots))
    assert_is_gradient(dx, loss, x, "x")
    for name, value in layer.params.items():
        assert_is_gradient(layer.grads[name], loss, value, name)


def test_absent_gradients_are_zeros_and_add_up():
    trees, layer = gpurnn.Trees(SHAPES["forest"]), make_layer("child-sum", 4)
    x, droot = features(len(trees)), features(len(trees.roots), 4)
    _, _, backward = layer.forward(x, trees)
    assert not backward().any()
    dx = backward(None, (droot, np.zeros_like(droot)))
    once = {name: g.copy() for name, g in layer.grads.items()}
    dy = np.zeros((len(trees), 4))
    dy[trees.roots] = droot
    np.testing.assert_array_equal(backward(dy), dx)
    for name, gradient in layer.grads.items():
        np.testing.assert_allclose(gradient, 2 * once[name], rtol=1e-12)


@pytest.mark.parametrize("kind", ["child-sum", "n-ary"])
def test_chain_is_an_lstm(kind):
    steps, hidden = 6, 5
    make = {"child-sum": MAKE["child-sum"], "n-ary": partial(gpurnn.TreeLSTM, children=1)}[kind]
    tree, lstm = make(I, hidden, dtype="float64", rng=1), gpurnn.LSTM(I, hidden, dtype="float64")
    i, g, o, f = np.split(tree.params["weight_ih"], 4)
    lstm.params["weight_ih_l0"][...] = np.concatenate([i, f, g, o])
    i, g, o = np.split(tree.params["weight_hh"], 3)
    lstm.params["weight_hh_l0"][...] = np.concatenate([i, tree.params["weight_fh"], g, o])
    i, g, o, f = np.split(tree.params["bias"], 4)
    lstm.params["bias_ih_l0"][...] = np.concatenate([i, f, g, o])
    lstm.params["bias_hh_l0"][...] = 0
    x, dy = features(steps), features(steps, hidden, 3)
    trees = gpurnn.Trees([*range(1, steps), -1])
    y, (h, c), backward = tree.forward(x, trees)
    y_lstm, state, backward_lstm = lstm.forward(x[:, None])
    np.testing.assert_allclose(y, y_lstm[:, 0], atol=1e-12)
    np.testing.assert_allclose(np.stack([h, c]), np.concatenate(state), atol=1e-12)
    np.testing.assert_allclose(backward(dy), backward_lstm(dy[:, None])[0][:, 0], atol=1e-12)


@settings(max_examples=5)
@given(seed=st.integers(0, 1000))
def test_child_sum_does_not_see_the_order(seed):
    layer, trees = make_layer("child-sum", 4), gpurnn.Trees([4, 4, 4, 4, -1])
    x = features(5)
    shuffled = np.random.default_rng(seed).permutation(4)
    other = x.copy()
    other[:4] = x[:4][shuffled]
    np.testing.assert_allclose(layer(x, trees)[0][4], layer(other, trees)[0][4], atol=1e-14)


def run_all(kind, trees, hidden, dtype, device):
    """Outputs, roots' states, gradients, as NumPy arrays."""
    layer = make_layer(kind, hidden, dtype, device)
    x, dy = (
        to_device(features(len(trees), width, seed).astype(dtype), device)
        for width, seed in ((I, 2), (hidden, 3))
    )
    y, roots, backward = layer.forward(x, trees)
    results = [y, *states_of(roots), backward(dy, roots), *layer.grads.values()]
    return [to_numpy(a) for a in results]


def a_large_forest(count=2500):
    sizes = np.random.default_rng(0).integers(1, 60, count // 30)
    return gpurnn.Trees.concatenate(gpurnn.Trees((np.arange(n) - 1) // 3) for n in sizes)


def test_threads_change_nothing(monkeypatch):
    from gpurnn.kernels.cpu import trees as kernels

    trees, kept = a_large_forest(), gpurnn.get_num_threads()
    alone = run_all("child-sum", trees, 8, "float64", "cpu")
    monkeypatch.setattr(kernels, "LEVEL_WORTH_SHARING", 1000)
    gpurnn.set_num_threads(3)
    try:
        together = run_all("child-sum", trees, 8, "float64", "cpu")
    finally:
        gpurnn.set_num_threads(kept)
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


@pytest.mark.cuda
@pytest.mark.parametrize(
    ("kind", "dtype", "hidden"),
    [*((kind, "float64", 5) for kind in MAKE), ("n-ary", "float32", 40)],
)
def test_cuda_equals_cpu(kind, dtype, hidden):
    trees = gpurnn.Trees.concatenate([gpurnn.Trees(SHAPES["forest"]), gpurnn.Trees([-1])])
    expected = run_all(kind, trees, hidden, dtype, "cpu")
    for a, b in zip(run_all(kind, trees, hidden, dtype, "cuda"), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCE[dtype] * np.abs(b).max())
