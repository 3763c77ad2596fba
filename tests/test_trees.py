"""Batches of trees: how they are described, ordered and joined; what is refused."""

import numpy as np
import pytest

import gpurnn
from gpurnn.kernels.cpu.tree_heights import tree_heights


def test_heights_order_and_roots():
    trees = gpurnn.Trees([2, 2, 5, 5, -1, -1])
    assert trees.heights.tolist() == [0, 0, 1, 0, 0, 2]
    assert trees.order.tolist() == [0, 1, 3, 4, 2, 5]
    assert trees.order[trees.rank].tolist() == list(range(6))
    assert trees.roots.tolist() == [4, 5]
    assert trees.positions[:4].tolist() == [0, 1, 0, 1]
    assert (len(trees), trees.places) == (6, 2)
    assert repr(trees) == "Trees(6 nodes, 2 roots, height 2)"


def test_children_say_the_same_as_parents():
    of_lists = gpurnn.Trees.from_children([[], [0, 2], [], [1]])
    of_array = gpurnn.Trees.from_children(np.array([[-1, -1], [0, 2], [-1, -1], [1, -1]]))
    for trees in (of_lists, of_array, gpurnn.Trees([1, 3, 1, -1])):
        assert trees.parents.tolist() == [1, 3, 1, -1]
        assert trees.positions[:3].tolist() == [0, 0, 1]


def test_an_empty_place_is_kept():
    trees = gpurnn.Trees.from_children([[-1, 1], [-1, -1]])
    assert trees.positions[1] == 1
    assert trees.places == 2


def test_concatenation_numbers_on():
    trees = gpurnn.Trees.concatenate(
        [gpurnn.Trees([1, -1], [1, 0]), gpurnn.Trees([-1]), gpurnn.Trees([-1, 0])]
    )
    assert trees.parents.tolist() == [1, -1, -1, -1, 3]
    assert trees.positions[[0, 4]].tolist() == [1, 0]
    assert trees.roots.tolist() == [1, 2, 3]


def test_a_deep_chain_needs_no_recursion():
    count = 100_000
    trees = gpurnn.Trees(np.arange(count) - 1)
    assert trees.heights[0] == count - 1


def test_heights_tell_cycles():
    assert tree_heights(np.array([1, 0, 0, -1, 3])).tolist() == [-1, -1, 0, 1, 0]


@pytest.mark.parametrize(
    ("parents", "positions", "error", "message"),
    [
        ([], None, ValueError, "parents: expected at least one node"),
        ([-1, 2], None, ValueError, "parents: expected -1 to 1, got 2"),
        ([-1, -2], None, ValueError, "parents: expected -1 to 1, got -2"),
        ([1, 2, 1, -1], None, ValueError, r"parents: expected trees, got a cycle \[1, 2\]"),
        ([0], None, ValueError, r"parents: expected trees, got a cycle \[0\]"),
        ([-1.0, 0.0], None, TypeError, "parents: expected integers, got float64"),
        ([[-1, 0]], None, ValueError, r"parents: expected one axis, got \(1, 2\)"),
        ([-1, 0, 0], [0, 1, 1], ValueError, "positions: expected different ones, got 1 for two"),
        ([-1, 0, 0], [0, 1], ValueError, r"positions: expected \(3,\), got \(2,\)"),
        ([-1, 0], [0, -1], ValueError, "positions: expected at least 0, got -1"),
    ],
)
def test_bad_parents(parents, positions, error, message):
    with pytest.raises(error, match=message):
        gpurnn.Trees(parents, positions)


@pytest.mark.parametrize(
    ("children", "error", "message"),
    [
        ([[1], [2, 3], [3], []], ValueError, r"one parent a node, got node 3 as a child of \[1, 2"),
        ([[1, 1], []], ValueError, r"one parent a node, got node 1 as a child of \[0, 0\]"),
        ([[2], []], ValueError, "children: expected -1 to 1, got 2"),
        ([[1], [0]], ValueError, "got a cycle"),
        ([[1.5], []], TypeError, r"children\[0\]: expected integers"),
        ([], ValueError, "at least one node"),
    ],
)
def test_bad_children(children, error, message):
    with pytest.raises(error, match=message):
        gpurnn.Trees.from_children(children)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda layer, x, trees: layer(x, [1, -1]), TypeError, "trees: expected Trees, got list"),
        (lambda layer, x, trees: layer(x[:2], trees), ValueError, r"x: expected \(4, 3\), got \(2"),
        (lambda layer, x, trees: layer(x[:, :2], trees), ValueError, r"x: expected \(4, 3\)"),
        (lambda layer, x, trees: layer(x.astype("f8"), trees), TypeError, "x: expected float32"),
        (lambda layer, x, trees: layer(x, gpurnn.Trees([3, 3, 3, -1])), ValueError,
         "trees: expected at most 2 children a node, got 3"),
        (lambda layer, x, trees: layer.forward(x, trees)[2](x), ValueError, r"dy: expected \(4, 5"),
        (lambda layer, x, trees: layer.forward(x, trees)[2](None, (x,)), ValueError,
         "droots: expected 2 arrays, got 1"),
        (lambda layer, x, trees: layer.forward(x, trees)[2](None, (x, x)), ValueError,
         r"droots: expected \(1, 5\), got \(4, 3\)"),
    ],
)  # fmt: skip
def test_bad_calls(call, error, message):
    layer, trees = gpurnn.TreeLSTM(3, 5), gpurnn.Trees([2, 2, 3, -1])
    with pytest.raises(error, match=message):
        call(layer, np.zeros((4, 3), np.float32), trees)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gpurnn.TreeLSTM(3, 5, children=0), "children: expected an integer"),
        (lambda: gpurnn.TreeLSTM(3, 5, children=None), "children: expected an integer"),
        (lambda: gpurnn.RecursiveNetwork(3, 5, nonlinearity="sine"), "nonlinearity: expected one"),
        (lambda: gpurnn.ChildSumTreeLSTM(0, 5), "input_size: expected an integer"),
    ],
)
def test_bad_sizes(make, message):
    with pytest.raises(ValueError, match=message):
        make()
