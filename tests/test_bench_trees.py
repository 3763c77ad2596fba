"""The bench of trees compares results, and times what it says."""

from bench import trees
from tests.test_bench import run


def test_shapes_are_timed():
    done = run("bench.trees", "--shape", "3,4,2,4", "--rounds", "1", "--threads", "1")
    assert done.returncode == 0, done.stderr
    for name in ("3,4,2,4 inference", "3,4,2,4 training", "as fast as node by node"):
        assert name in done.stdout


def test_trees_have_as_many_nodes_as_asked_for():
    import numpy as np

    made = trees.random_trees(3, 4, np.random.default_rng(0))
    assert (len(made), len(made.roots)) == (12, 3)
