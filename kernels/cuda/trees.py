"""Networks over trees, level by level; products are cuBLAS's. For arrays see `tree_levels`.

A level takes three or four launches, a thread having a hidden unit of a node. Nothing in the loop
over the levels is allocated, or looked at by the host.
"""

from functools import cache

import cupy
import numpy as np

from ..specialise import specialise, text_of_tree_cell
from ..tree_nodes import backward_node, forward_node
from . import tuples
from .cublas import multiply
from .device import INTEGER, INTEGERS, cuda, floats, inlined
from .functions import REPLACEMENTS
from .launching import Kernel

THREADS = 128


def _compiled(function):
    return specialise(function, REPLACEMENTS, inlined)


@cache
def gather_kernel(dtype):
    """The kernel that puts the children's hidden states into their places in `gathered`.

    `base` is the node of its first row, `width` that of a row.
    """

    def run(begin, end, base, units, width, first, children, places, hidden, gathered):
        i = cuda.grid(1)
        node, u = begin + i // units, i % units
        if node >= end:
            return
        for place in range(0, width, units):
            gathered[(node - base) * width + place + u] = type(gathered[0])(0)
        for e in range(first[node], first[node + 1]):
            to = places[children[e]] * units - base * width
            gathered[to + u] += hidden[children[e] * units + u]

    f, i, n = floats(dtype), INTEGER, INTEGERS
    return Kernel(f"tree_gather {dtype}", run, (i, i, i, i, i, n, n, n, f, f))


@cache
def forward_kernel(cell, dtype):
    """The kernel from the products of a level to its states."""
    forward_unit = forward_node(cell, _compiled, tuples)

    def forward(
        begin, end, base, moved, units, x_width, plane, first, children, gate_places, xg, hg, hf,
        states,
    ):  # fmt: skip
        i = cuda.grid(1)
        node, u = begin + i // units, i % units
        if node >= end:
            return
        forward_unit(
            node, node - base, moved, u, 1, units, x_width, plane, first, children, gate_places,
            xg, hg, hf, states,
        )  # fmt: skip

    f, i, n = floats(dtype), INTEGER, INTEGERS
    types = (i,) * 7 + (n,) * 3 + (f,) * 4
    return Kernel(f"tree_forward {text_of_tree_cell(cell)} {np.dtype(dtype)}", forward, types)


@cache
def backward_kernel(cell, dtype):
    """The kernel from the gradients by a level's states to those by its products."""
    backward_unit = backward_node(cell, _compiled, tuples)

    def backward(
        begin, end, units, x_width, plane, first, children, places, gate_places, hg, hf, states,
        dstates, dxg, dhg, dhf, dgathered, dgated,
    ):  # fmt: skip
        i = cuda.grid(1)
        node, u = begin + i // units, i % units
        if node >= end:
            return
        backward_unit(
            node, u, 1, units, x_width, plane, first, children, places, gate_places, hg, hf,
            states, dstates, dxg, dhg, dhf, dgathered, dgated,
        )  # fmt: skip

    f, i, n = floats(dtype), INTEGER, INTEGERS
    types = (i,) * 5 + (n,) * 4 + (f,) * 9
    return Kernel(f"tree_backward {text_of_tree_cell(cell)} {np.dtype(dtype)}", backward, types)


def _grid(nodes, units):
    return (-(-nodes * units // THREADS), 1, 1), (THREADS, 1, 1)


def tree_forward(cell, levels, weight_hh, weight_fh, xg, states, tape=None):
    """Fill `states` (S, N, H) from `xg`, and `tape` = (gathered, hg, hf) for the way back.

    weight_hh (G H, K H); weight_fh (K H, K H), or (0, 0) if children have no gates. Without a
    tape, such arrays have the rows of one level, used again and again.
    """
    (_, nodes, units), (x_width, seen) = states.shape, (xg.shape[1], weight_hh.shape[1])
    gathered, hg, hf = tape or _rows(levels, weight_hh, weight_fh, nodes, xg.dtype)
    gated, beside = hf.size > 0, not levels.summed
    gather_level, run_level = gather_kernel(xg.dtype), forward_kernel(cell, xg.dtype)
    tables = levels.first, levels.children
    for begin, end in zip(levels.bounds[:-1].tolist(), levels.bounds[1:].tolist()):
        launch, base = _grid(end - begin, units), 0 if tape else begin
        level = slice(begin - base, end - base)
        if begin:
            gather_level(
                *launch, begin, end, base, units, seen, *tables, levels.places, states[0], gathered
            )
            multiply(gathered[level], weight_hh.T, hg[level])
            if gated and beside:
                multiply(gathered[level], weight_fh.T, hf[level])
        else:
            hg[level].fill(0)
        run_level(
            *launch, begin, end, base, base * (seen // units) * beside, units, x_width,
            nodes * units, *tables, levels.gates, xg, hg, hf, states,
        )  # fmt: skip
        if gated and levels.summed:
            multiply(states[0, begin:end], weight_fh.T, hf[begin:end])


def _rows(levels, weight_hh, weight_fh, nodes, dtype):
    """(gathered, hg, hf) of the largest level; but gates that are seen later, of all nodes."""
    largest = int(np.diff(levels.bounds).max())
    return (
        cupy.empty((largest, weight_hh.shape[1]), dtype),
        cupy.empty((largest, len(weight_hh)), dtype),
        cupy.empty((nodes if levels.summed else largest, len(weight_fh)), dtype),
    )


def tree_backward(cell, levels, weight_hh, weight_fh, hg, hf, states, dstates, dxg, dhg, dhf):
    """Fill `dxg`, `dhg` and `dhf`, which comes in as zeros; `dstates` are used up.

    These come in as the gradients by all nodes' states as far as they do not go through parents;
    of state 1, only roots' are looked at.
    """
    (_, nodes, units), x_width, gated = states.shape, dxg.shape[1], hf.size > 0
    run_level, bounds = backward_kernel(cell, hg.dtype), levels.bounds.tolist()
    dgathered, dgated = cupy.empty((nodes, weight_hh.shape[1]), hg.dtype), cupy.empty_like(hf)
    for begin, end in reversed(list(zip(bounds[:-1], bounds[1:]))):
        level = slice(begin, end)
        if gated and levels.summed:
            multiply(dhf[level], weight_fh, dgated[level])
        run_level(
            *_grid(end - begin, units), begin, end, units, x_width, nodes * units, levels.first,
            levels.children, levels.places, levels.gates, hg, hf, states, dstates, dxg, dhg, dhf,
            dgathered, dgated,
        )  # fmt: skip
        if begin:
            multiply(dhg[level], weight_hh, dgathered[level])
            if gated and not levels.summed:
                multiply(dhf[level], weight_fh, dgated[level])
