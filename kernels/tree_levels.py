"""What both devices' kernels of trees work on.

Nodes are numbered by rising height, so that the nodes of a level lie together, after all of
their children. With K places for children at a node, of H units each:

- states (S, N, H): h, and c if there is one.
- gathered (N, K H): the hidden states of a node's children, side by side, zeros where there is
  none; or, K being 1, their sum.
- xg (N, X H): products with the input: of G gates and, if children have gates, of these.
- hg (N, G H): the gates' products with `gathered`; then what the cell saves.
- hf (N, K H): the products of the children's gates; then the gates. Side by side in the parent's
  row if children are, else in the child's own: then a gate sees no child but its own.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class TreeLevels:
    """The tables of a batch of trees; integer arrays, on the device but for `bounds`.

    Attributes
    ----------
    order, rank : (N,)
        The node that each number stands for, and each node's number.
    roots : (R,)
        The numbers of the roots, in the order of `Trees.roots`.
    bounds : (levels + 1,), on the host
        Level n has the nodes from bounds[n] to bounds[n + 1].
    first, children : (N + 1,), (edges,)
        The children of node n, in order: children[first[n]], ..., children[first[n + 1] - 1].
    places : (N,)
        A node's place in its parent, as a row of `gathered` taken as (N K, H); -1 for a root.
    gates : (N,)
        The place of a node's gate, as a row of `hf` taken so.
    summed : bool
        Whether K is 1 and all children of a node have one place.
    """

    order: Any
    rank: Any
    roots: Any
    bounds: np.ndarray
    first: Any
    children: Any
    places: Any
    gates: Any
    summed: bool
