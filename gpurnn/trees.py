"""Batches of trees."""

from functools import cached_property

import numpy as np

from .arrays import module_of
from .kernels.cpu.tree_heights import tree_heights
from .kernels.tree_levels import TreeLevels


class Trees:
    """Rooted ordered trees, as many as one likes, over nodes numbered from 0.

    Parameters
    ----------
    parents : integers (N,)
        The parent of each node; -1 for a root.
    positions : integers (N,), optional
        Which child of its parent each node is, from 0 on; places may be left empty. By default
        the children of a node stand in the order of their numbers. Roots' are of no account.

    Attributes
    ----------
    parents, positions : integers (N,)
    heights : integers (N,)
        Of a leaf 0, of others one more than that of their highest child.
    roots : integers (R,)
        The nodes without a parent, by rising number.

    `len(trees)` is N. Raises TypeError for numbers that are no integers; ValueError for no node
    at all, a parent out of range, a cycle, or two children in one place.
    """

    def __init__(self, parents, positions=None):
        self.parents = _integers(parents, "parents")
        count = len(self.parents)
        if not count:
            raise ValueError("parents: expected at least one node, got none")
        _check_nodes(self.parents, "parents", count)
        self.heights = tree_heights(self.parents)
        if (self.heights < 0).any():
            raise ValueError(f"parents: expected trees, got a cycle {self._cycle()}")
        self.roots = np.flatnonzero(self.parents < 0)
        self.positions = self._ranks() if positions is None else self._checked(positions)
        self._levels = {}

    @classmethod
    def from_children(cls, children):
        """Trees from the children of each node, -1 standing for an empty place.

        `children` is an integer array (N, places), or a list with a list for each node. Raises
        as the class, and ValueError if a node has several parents.
        """
        rows = [_integers(row, f"children[{n}]") for n, row in enumerate(children)]
        counts = [len(row) for row in rows]
        flat = np.concatenate([*rows, np.empty(0, np.intp)])
        _check_nodes(flat, "children", len(rows))
        owners = np.repeat(np.arange(len(rows)), counts)
        places = np.arange(len(flat)) - np.repeat(np.cumsum(counts) - counts, counts)
        owners, places, flat = owners[flat >= 0], places[flat >= 0], flat[flat >= 0]
        twice = np.flatnonzero(np.bincount(flat, minlength=len(rows)) > 1)
        if len(twice):
            raise ValueError(
                f"children: expected one parent a node, got node {twice[0]} as a child of "
                f"{owners[flat == twice[0]].tolist()}"
            )
        parents, positions = np.full(len(rows), -1), np.zeros(len(rows), np.intp)
        parents[flat], positions[flat] = owners, places
        return cls(parents, positions)

    @classmethod
    def concatenate(cls, batches):
        """One batch of several; nodes are numbered on from batch to batch."""
        batches = list(batches)
        starts = np.cumsum([0] + [len(trees) for trees in batches])
        parents = [np.where(t.parents < 0, -1, t.parents + s) for t, s in zip(batches, starts)]
        none = np.empty(0, np.intp)
        return cls(
            np.concatenate([*parents, none]),
            np.concatenate([*(trees.positions for trees in batches), none]),
        )

    def __len__(self):
        return len(self.parents)

    def __repr__(self):
        return f"Trees({len(self)} nodes, {len(self.roots)} roots, height {self.heights.max()})"

    @cached_property
    def places(self):
        """How many places for children the nodes have: one more than the highest position."""
        return int(self.positions[self.parents >= 0].max(initial=-1)) + 1

    @cached_property
    def order(self):
        """The nodes by rising height, those of a height by number: the order of the kernels."""
        return np.argsort(self.heights, kind="stable")

    @cached_property
    def rank(self):
        """Each node's place in `order`."""
        rank = np.empty_like(self.order)
        rank[self.order] = np.arange(len(self))
        return rank

    def levels(self, places, device):
        """The kernels' tables, made once: for `places` children side by side, or None: summed."""
        key = places, device
        if key not in self._levels:
            self._levels[key] = self._make_levels(places, module_of(device).asarray)
        return self._levels[key]

    def _make_levels(self, places, asarray):
        order, inner = self.order, self.parents[self.order] >= 0
        parents = np.where(inner, self.rank[self.parents[order]], -1)
        counts = np.bincount(parents[inner], minlength=len(self))
        children = np.lexsort((self.positions[order], parents))[np.count_nonzero(~inner) :]
        if places is None:
            at, gates = parents, np.arange(len(self))
        else:
            at = gates = np.where(inner, parents * places + self.positions[order], -1)
        heights = self.heights[order]
        return TreeLevels(
            asarray(order),
            asarray(self.rank),
            asarray(self.rank[self.roots]),
            np.searchsorted(heights, np.arange(heights[-1] + 2)),
            asarray(np.concatenate([[0], np.cumsum(counts)])),
            asarray(children),
            asarray(at),
            asarray(gates),
            places is None,
        )

    def _ranks(self):
        """Each node's place among its siblings, in the order of their numbers."""
        by_parent = np.argsort(self.parents, kind="stable")
        sorted_parents = self.parents[by_parent]
        ranks = np.empty(len(self), np.intp)
        ranks[by_parent] = np.arange(len(self)) - np.searchsorted(sorted_parents, sorted_parents)
        return ranks

    def _checked(self, positions):
        positions = _integers(positions, "positions")
        if positions.shape != self.parents.shape:
            raise ValueError(f"positions: expected {self.parents.shape}, got {positions.shape}")
        inner = self.parents >= 0
        if (positions[inner] < 0).any():
            raise ValueError(f"positions: expected at least 0, got {positions[inner].min()}")
        order = np.lexsort((positions, self.parents))
        order = order[inner[order]]
        pairs = np.stack([self.parents[order], positions[order]])
        same = np.flatnonzero((pairs[:, 1:] == pairs[:, :-1]).all(0))
        if len(same):
            parent, position = pairs[:, same[0]]
            raise ValueError(
                f"positions: expected different ones, got {position} for two children of {parent}"
            )
        return positions

    def _cycle(self):
        node, path = np.flatnonzero(self.heights < 0)[0], []
        while node not in path:
            path.append(int(node))
            node = self.parents[node]
        return path[path.index(node) :]


def _integers(values, name):
    """A new array of one axis, on the host."""
    array = np.array(values)
    if array.size == 0:
        array = array.astype(np.intp)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected integers, got {array.dtype}")
    if array.ndim != 1:
        raise ValueError(f"{name}: expected one axis, got {array.shape}")
    return array.astype(np.intp)


def _check_nodes(nodes, name, count):
    wrong = nodes[(nodes < -1) | (nodes >= count)]
    if wrong.size:
        raise ValueError(f"{name}: expected -1 to {count - 1}, got {wrong[0]}")
