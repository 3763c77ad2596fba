"""Networks over trees, level by level; products are cuBLAS's. For arrays see `tree_levels`.

A level takes three or four launches, a thread having a hidden unit of a node. Nothing in the loop
over the levels is allocated, or looked at by the host.
"""

from functools import cache

import cupy
import numpy as np

from ..specialise import specialise, text_of_tree_cell
from .device import INTEGER, INTEGERS, cuda, floats, inlined
from .functions import REPLACEMENTS
from .launching import Kernel
from .products import multiply
from .tuples import add_at, gather, scatter

THREADS = 128


def _compiled(function):
    return specialise(function, REPLACEMENTS, inlined)


@cache
def gather_kernel(dtype):
    """The kernel that adds the children's hidden states to their places in `gathered`."""

    def run(begin, end, units, first, children, places, hidden, gathered):
        i = cuda.grid(1)
        node, u = begin + i // units, i % units
        if node >= end:
            return
        for e in range(first[node], first[node + 1]):
            gathered[places[children[e]] * units + u] += hidden[children[e] * units + u]

    f, i = floats(dtype), INTEGER
    return Kernel(f"tree_gather {dtype}", run, (i, i, i, INTEGERS, INTEGERS, INTEGERS, f, f))


@cache
def _carry(cell):
    """A function that lets the children's states through their gates: () or (their sum,)."""
    if cell.forward_child is None:
        return inlined(lambda x, begin, end, children, gates, hf, c, u, units: ())
    through = _compiled(cell.forward_child)

    @inlined
    def carry(x, begin, end, children, gates, hf, c, u, units):
        total = type(x)(0)
        for e in range(begin, end):
            at = gates[children[e]] * units + u
            value, f = through(x, hf[at], c[children[e] * units + u])
            hf[at] = f
            total += value
        return (total,)

    return carry


@cache
def forward_kernel(cell, dtype):
    """The kernel from the products of a level to its states; these lie `plane` apart."""
    function, carry, gate_count = _compiled(cell.forward), _carry(cell), cell.gates
    gates, saves, put_states = gather(cell.gates), scatter(cell.saved), scatter(cell.states)

    def forward(
        begin, end, units, x_width, first, children, gate_places, xg, hg, hf, states, c, plane
    ):  # fmt: skip
        i = cuda.grid(1)
        node, u = begin + i // units, i % units
        if node >= end:
            return
        x_at, h_at = node * x_width + u, node * gate_count * units + u
        carried = carry(
            xg[x_at + (x_width - units)], first[node], first[node + 1], children, gate_places, hf,
            c, u, units,
        )  # fmt: skip
        values, saved = function(gates(xg, x_at, units), gates(hg, h_at, units), carried)
        put_states(states, node * units + u, plane, values)
        saves(hg, h_at, units, saved)

    f, i, n = floats(dtype), INTEGER, INTEGERS
    types = (i, i, i, i, n, n, n, f, f, f, f, f, i)
    return Kernel(f"tree_forward {text_of_tree_cell(cell)} {np.dtype(dtype)}", forward, types)


@cache
def _carry_back(cell):
    """A function that takes gradients back through the children's gates.

    It writes those by the sums of these gates, by what these saw of the node's input, at `x_at`
    of `dxg`, and by the children's states 1.
    """
    if cell.backward_child is None:
        return inlined(
            lambda carried, begin, end, children, gates, hf, c, dhf, dc, dxg, x_at, u, units: None
        )
    back = _compiled(cell.backward_child)

    @inlined
    def carry_back(carried, begin, end, children, gates, hf, c, dhf, dc, dxg, x_at, u, units):
        total = type(carried[0])(0)
        for e in range(begin, end):
            gate_at, at = gates[children[e]] * units + u, children[e] * units + u
            da, dc[at] = back(hf[gate_at], c[at], carried[0])
            dhf[gate_at] = da
            total += da
        dxg[x_at] = total

    return carry_back


@cache
def _received(cell):
    """A function: the gradient that a node's hidden state has from its parent."""
    if cell.backward_child is None:
        return inlined(lambda at, gate_at, dgathered, dgated: dgathered[at])
    return inlined(lambda at, gate_at, dgathered, dgated: dgathered[at] + dgated[gate_at])


@cache
def backward_kernel(cell, dtype):
    """The kernel from the gradients by a level's states to those by its products."""
    function, carry_back, received = _compiled(cell.backward), _carry_back(cell), _received(cell)
    saves, states_of, put_gates = gather(cell.saved), gather(cell.states), scatter(cell.gates)
    add_hidden, gate_count = add_at(0), cell.gates

    def backward(
        begin, end, units, x_width, first, children, places, gate_places, hg, hf, states, c,
        dstates, dc, plane, dxg, dhg, dhf, dgathered, dgated,
    ):  # fmt: skip
        i = cuda.grid(1)
        node, u = begin + i // units, i % units
        if node >= end:
            return
        at, x_at, h_at = node * units + u, node * x_width + u, node * gate_count * units + u
        dnew = states_of(dstates, at, plane)
        if places[node] >= 0:
            more = received(
                places[node] * units + u, gate_places[node] * units + u, dgathered, dgated
            )
            dnew = add_hidden(dnew, more)
        _, da, carried = function(
            saves(hg, h_at, units), (), states_of(states, at, plane), dnew
        )  # fmt: skip
        put_gates(dxg, x_at, units, da)
        put_gates(dhg, h_at, units, da)
        carry_back(
            carried, first[node], first[node + 1], children, gate_places, hf, c, dhf, dc, dxg,
            x_at + (x_width - units), u, units,
        )  # fmt: skip

    f, i, n = floats(dtype), INTEGER, INTEGERS
    types = (i, i, i, i, n, n, n, n, f, f, f, f, f, f, i, f, f, f, f, f)
    return Kernel(f"tree_backward {text_of_tree_cell(cell)} {np.dtype(dtype)}", backward, types)


def _grid(nodes, units):
    return (-(-nodes * units // THREADS), 1, 1), (THREADS, 1, 1)


def tree_forward(cell, levels, weight_hh, weight_fh, xg, gathered, hg, hf, states):
    """Fill `states` (S, N, H), `hg` and `hf` from `xg`; `gathered` comes in as zeros.

    weight_hh (G H, K H); weight_fh (K H, K H), or (0, 0) if children have no gates.
    """
    (_, nodes, units), x_width, gated = states.shape, xg.shape[1], hf.size > 0
    gather_level, run_level = gather_kernel(xg.dtype), forward_kernel(cell, xg.dtype)
    tables = levels.first, levels.children
    hg[: levels.bounds[1]] = 0
    for begin, end in zip(levels.bounds[:-1].tolist(), levels.bounds[1:].tolist()):
        launch, level = _grid(end - begin, units), slice(begin, end)
        if begin:
            gather_level(*launch, begin, end, units, *tables, levels.places, states[0], gathered)
            multiply(gathered[level], weight_hh.T, hg[level])
            if gated and not levels.summed:
                multiply(gathered[level], weight_fh.T, hf[level])
        run_level(
            *launch, begin, end, units, x_width, *tables, levels.gates, xg, hg, hf, states,
            states[-1], nodes * units,
        )  # fmt: skip
        if gated and levels.summed:
            multiply(states[0, level], weight_fh.T, hf[level])


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
            *_grid(end - begin, units), begin, end, units, x_width, levels.first, levels.children,
            levels.places, levels.gates, hg, hf, states, states[-1], dstates, dstates[-1],
            nodes * units, dxg, dhg, dhf, dgathered, dgated,
        )  # fmt: skip
        if begin:
            multiply(dhg[level], weight_hh, dgathered[level])
            if gated and not levels.summed:
                multiply(dhf[level], weight_fh, dgated[level])
