"""Networks over trees: against plain NumPy, finite differences, the LSTM and across devices."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpurnn
from gpurnn.arrays import to_device, to_numpy
from gpurnn.kernels.mathematics import sigmoid, sigmoid_slope, tanh, tanh_slope, zero
from tests import reference_trees as reference
from tests.cases import TOLERANCE
from tests.differences import assert_is_gradient

I = 3


def _uneven_child(x, h, c):
    f = tanh(x + h)
    return f * c, f


def _uneven_child_back(f, c, dcarried):
    return dcarried * c * tanh_slope(f), dcarried * f


def _uneven(x, h, state):
    """Its gradients by x and h differ, and it has one number to save for two gates."""
    (carried,) = state
    f = sigmoid(x[0] - h[0])
    c = f + carried + x[1]
    return (tanh(c), c), (f,)


def _uneven_back(saved, state, new, dnew):
    (f,) = saved
    dc = dnew[1] + dnew[0] * tanh_slope(new[0])
    df = dc * sigmoid_slope(f)
    return (df, dc), (-df, zero(dc)), (dc,)


UNEVEN = gpurnn.TreeCell(
    "uneven", 2, 2, 1, _uneven, _uneven_back, _uneven_child, _uneven_child_back
)
MAKE = {
    "tanh": partial(gpurnn.RecursiveNetwork, children=3),
    "own": partial(gpurnn.TreeNetwork, UNEVEN, children=3),
    "child-sum": gpurnn.ChildSumTreeLSTM,
    "n-ary": partial(gpurnn.TreeLSTM, children=3),
}
NODE = {
    "tanh": lambda w: partial(reference.recursive, w, np.tanh),
    "own": lambda w: partial(reference.uneven, w),
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
    x, names = features(len(trees)), "hc"[: layer.cell.states]
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


@pytest.mark.parametrize("kind", MAKE)
def test_gradients_are_those_of_finite_differences(kind):
    trees, layer = gpurnn.Trees(SHAPES["forest"]), make_layer(kind, 2)
    x, dy = features(len(trees)), features(len(trees), 2, 3)
    of_roots = [features(len(trees.roots), 2, 4 + n) for n in range(layer.cell.states)]

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


def test_cell_of_ones_own(device):
    """`check_cell` tries layers of it, gradients included, with children in order and in none."""
    assert gpurnn.check_cell(UNEVEN, devices=[device]).devices == (device,)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"forward": lambda x, h, state: (x[:1] + h[:1], h[1:])}, ValueError,
         r"new\[0\] by x\[0\]"),
        ({"backward": lambda saved, state, new, dnew: (dnew, dnew)}, ValueError,
         r"backward: expected \(dx, dh, dstate\), got 2 results"),
        ({"backward_child": lambda f, c, dcarried: (f, f)}, ValueError,
         r"by child x\[0\]: expected"),
        ({"forward_child": lambda x, h, c: 0.5 * c}, TypeError, "the number 0.5 turns float32"),
        ({"forward_child": lambda x, h: x}, TypeError, "forward_child: .* 3 arguments"),
        ({"forward_child": lambda x, h, c: c}, ValueError, "forward_child: .* tuple of 2 numbers"),
    ],
)  # fmt: skip
def test_mistakes_of_a_cell_are_named(changes, error, message):
    with pytest.raises(error, match=message):
        gpurnn.check_cell(replace(UNEVEN, **changes), devices=())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backward_child": None}, "expected both or none"),
        ({"states": 1}, "states: expected 2 of a cell with forward_child, got 1"),
        ({"forward_child": None, "backward_child": None}, "states: expected 1 of a cell without"),
        ({"saved": 3}, "no more saved numbers, got 2 and 3"),
    ],
)
def test_numbers_of_a_cell_go_together(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(UNEVEN, **changes)


def test_a_nonlinearity_is_a_cell():
    layer = gpurnn.RecursiveNetwork(3, 4, nonlinearity="relu")
    assert layer.cell is gpurnn.cells.TREE_RELU and layer.nonlinearity == "relu"


def test_a_network_wants_a_cell_of_trees():
    with pytest.raises(TypeError, match="cell: expected a TreeCell, got Cell"):
        gpurnn.TreeNetwork(gpurnn.cells.LSTM, 3, 4)
    with pytest.raises(ValueError, match="children: expected an integer of at least 1"):
        gpurnn.TreeNetwork(UNEVEN, 3, 4, children=0)


def test_inference_keeps_less_than_training(monkeypatch):
    """Many nodes of few levels: what only the way back needs is not even there for a while."""
    trees, layer = a_large_forest(), make_layer("child-sum", 8)
    x, taped = features(len(trees)), []
    kernels = layer.kernels
    forward = kernels.tree_forward
    monkeypatch.setattr(kernels, "tree_forward", lambda *a: taped.append(a[-1]) or forward(*a))
    y, (h, c) = layer(x, trees)
    y_training, (h_training, c_training), _ = layer.forward(x, trees)
    assert taped[0] is None and [len(part) for part in taped[1]] == [len(trees)] * 3
    for a, b in zip((y, h, c), (y_training, h_training, c_training)):
        np.testing.assert_array_equal(a, b)


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
