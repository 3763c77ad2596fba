"""Networks over trees, level by level. For what the arrays hold see `tree_levels`."""

from functools import cache

import numpy as np

from ..specialise import specialise, text_of_tree_cell
from .compiling import inlined, kernel
from .functions import REPLACEMENTS
from .linear import multiply_rows, packed_weight
from .simd import broadcast, lanes_of, load_each, load_part, store_each, store_part
from .threads import get_num_threads, run_parallel, split
from .tuples import add_at, gather_part, scatter_part

BLOCK_ROWS = 64  # nodes worked on at once: what one phase writes, the next finds in the cache
LEVEL_WORTH_SHARING = 4_000_000  # operations; below, threads wait longer than they work


def _compiled(function):
    return specialise(function, REPLACEMENTS, inlined)


@inlined
def _gather_children(begin, end, first, children, places, hidden, gathered, units):
    """Add the hidden states of the children of nodes begin .. end - 1 to their places."""
    for e in range(first[begin], first[end]):
        at, to = children[e] * units, places[children[e]] * units
        for u in range(units):
            gathered[to + u] += hidden[at + u]


@cache
def _carry(cell):
    """A function that lets the children's states through their gates: () or (their sum,)."""
    if cell.forward_child is None:
        return inlined(lambda x, begin, end, children, gates, hf, states, u, units, some: ())
    through = _compiled(cell.forward_child)

    @inlined
    def carry(x, begin, end, children, gates, hf, states, u, units, some):
        total = broadcast(hf, 0)
        for e in range(begin, end):
            child = children[e]
            at = gates[child] * units + u
            c = load_part(states[1], child * units + u, some)
            value, f = through(x, load_part(hf, at, some), c)
            store_part(hf, at, f, some)
            total = total + value
        return (total,)

    return carry


@cache
def _forward(cell, dtype):
    lanes, gate_count, with_gates = lanes_of(dtype), cell.gates, cell.forward_child is not None
    function, carry = _compiled(cell.forward), _carry(cell)
    gates, saves = gather_part(cell.gates), scatter_part(cell.saved)

    @kernel(f"tree_forward {text_of_tree_cell(cell)} {dtype}")
    def forward(
        starts, ends, first, children, places, gate_places, summed, to_gates, to_child_gates,
        xg, gathered, hg, hf, hidden, states,
    ):  # fmt: skip
        units, x_width = hidden.shape[1], xg.shape[1]
        xg_flat, hg_flat, hf_flat = xg.reshape(-1), hg.reshape(-1), hf.reshape(-1)
        gathered_flat = gathered.reshape(-1)
        for level in range(starts.size):
            for begin in range(starts[level], ends[level], BLOCK_ROWS):
                end = min(begin + BLOCK_ROWS, ends[level])
                if first[end] > first[begin]:
                    _gather_children(
                        begin, end, first, children, places, states[0], gathered_flat, units
                    )
                    multiply_rows(gathered, begin, end, to_gates, hg)
                    if with_gates and not summed:
                        multiply_rows(gathered, begin, end, to_child_gates, hf)
                for node in range(begin, end):
                    for u in range(0, units, lanes):
                        some, x_at = min(lanes, units - u), node * x_width + u
                        h_at = node * gate_count * units + u
                        carried = carry(
                            load_part(xg_flat, x_at + (x_width - units), some), first[node],
                            first[node + 1], children, gate_places, hf_flat, states, u, units, some,
                        )  # fmt: skip
                        values, saved = function(
                            gates(xg_flat, x_at, units, some),
                            gates(hg_flat, h_at, units, some),
                            carried,
                        )
                        store_each(states, node * units + u, values, some)
                        saves(hg_flat, h_at, units, saved, some)
                if with_gates and summed:
                    multiply_rows(hidden, begin, end, to_child_gates, hf)

    return forward


@cache
def _carry_back(cell):
    """A function that takes gradients back through the children's gates.

    It writes those by the sums of these gates, by what these saw of the node's input, at `x_at`
    of `dxg`, and by the children's states 1.
    """
    if cell.backward_child is None:
        return inlined(
            lambda carried, begin, end, children, gates, hf, states, dhf, dstates, dxg, x_at, u,
            units, some: None
        )  # fmt: skip
    back = _compiled(cell.backward_child)

    @inlined
    def carry_back(
        carried, begin, end, children, gates, hf, states, dhf, dstates, dxg, x_at, u, units, some
    ):  # fmt: skip
        total = broadcast(hf, 0)
        for e in range(begin, end):
            gate_at, at = gates[children[e]] * units + u, children[e] * units + u
            f, c = load_part(hf, gate_at, some), load_part(states[1], at, some)
            da, dc = back(f, c, carried[0])
            store_part(dhf, gate_at, da, some)
            store_part(dstates[1], at, dc, some)
            total = total + da
        store_part(dxg, x_at, total, some)

    return carry_back


@cache
def _received(cell):
    """A function: the gradient that a node's hidden state has from its parent."""
    if cell.backward_child is None:
        return inlined(lambda at, gate_at, dgathered, dgated, some: load_part(dgathered, at, some))
    return inlined(
        lambda at, gate_at, dgathered, dgated, some: (
            load_part(dgathered, at, some) + load_part(dgated, gate_at, some)
        )
    )


@cache
def _backward(cell, dtype):
    lanes, gate_count, with_gates = lanes_of(dtype), cell.gates, cell.forward_child is not None
    function, carry_back, received = _compiled(cell.backward), _carry_back(cell), _received(cell)
    saves, put_gates, add_hidden = gather_part(cell.saved), scatter_part(cell.gates), add_at(0)

    @kernel(f"tree_backward {text_of_tree_cell(cell)} {dtype}")
    def backward(
        starts, ends, first, children, places, gate_places, summed, from_gates, from_child_gates,
        hg, hf, states, dstates, dxg, dhg, dhf, dgathered, dgated, units,
    ):  # fmt: skip
        x_width = dxg.shape[1]
        hg_flat, hf_flat = hg.reshape(-1), hf.reshape(-1)
        dxg_flat, dhg_flat, dhf_flat = dxg.reshape(-1), dhg.reshape(-1), dhf.reshape(-1)
        dgathered_flat, dgated_flat = dgathered.reshape(-1), dgated.reshape(-1)
        for level in range(starts.size):
            for begin in range(starts[level], ends[level], BLOCK_ROWS):
                end = min(begin + BLOCK_ROWS, ends[level])
                if with_gates and summed:
                    multiply_rows(dhf, begin, end, from_child_gates, dgated)
                for node in range(begin, end):
                    for u in range(0, units, lanes):
                        some, at = min(lanes, units - u), node * units + u
                        x_at, h_at = node * x_width + u, node * gate_count * units + u
                        dnew = load_each(dstates, at, some)
                        if places[node] >= 0:
                            more = received(
                                places[node] * units + u, gate_places[node] * units + u,
                                dgathered_flat, dgated_flat, some,
                            )  # fmt: skip
                            dnew = add_hidden(dnew, more)
                        _, da, carried = function(
                            saves(hg_flat, h_at, units, some), (), load_each(states, at, some), dnew
                        )
                        put_gates(dxg_flat, x_at, units, da, some)
                        put_gates(dhg_flat, h_at, units, da, some)
                        carry_back(
                            carried, first[node], first[node + 1], children, gate_places, hf_flat,
                            states, dhf_flat, dstates, dxg_flat, x_at + (x_width - units), u, units,
                            some,
                        )  # fmt: skip
                if first[end] > first[begin]:
                    multiply_rows(dhg, begin, end, from_gates, dgathered)
                    if with_gates and not summed:
                        multiply_rows(dhf, begin, end, from_child_gates, dgated)

    return backward


def _runs(bounds, operations):
    """Levels to work on by one call each thread: [(starts, ends) of a thread, ...], ...

    A level with enough to do for several threads is divided among them, smaller ones that follow
    each other go to one. `operations` are those of a node.
    """
    runs, small = [], []
    for begin, end in zip(bounds[:-1], bounds[1:]):
        threads = min(get_num_threads(), (end - begin) * operations // LEVEL_WORTH_SHARING)
        if threads < 2:
            small.append((begin, end))
            continue
        if small:
            runs.append([np.array(small).T])
            small = []
        runs.append([np.array([[begin + a], [begin + b]]) for a, b in split(end - begin, threads)])
    return runs + [[np.array(small).T]] if small else runs


def _run_levels(function, bounds, operations, arguments, downwards=False):
    runs = _runs(bounds, operations)
    for parts in reversed(runs) if downwards else runs:
        parts = [part[:, ::-1] for part in parts] if downwards else parts
        run_parallel(function, [(*np.ascontiguousarray(part), *arguments) for part in parts])


def _operations(*weights):
    return 2 * sum(w.size for w in weights)


def tree_forward(cell, levels, weight_hh, weight_fh, xg, gathered, hg, hf, states):
    """Fill `states` (S, N, H), `hg` and `hf` from `xg`; `gathered` comes in as zeros.

    weight_hh (G H, K H); weight_fh (K H, K H), or (0, 0) if children have no gates.
    """
    hg[: levels.bounds[1]] = 0
    arguments = (
        levels.first, levels.children, levels.places, levels.gates, levels.summed,
        packed_weight(weight_hh, True), packed_weight(weight_fh, True), xg, gathered, hg, hf,
        states[0], tuple(state.reshape(-1) for state in states),
    )  # fmt: skip
    operations = _operations(weight_hh, weight_fh)
    _run_levels(_forward(cell, xg.dtype), levels.bounds, operations, arguments)


def tree_backward(cell, levels, weight_hh, weight_fh, hg, hf, states, dstates, dxg, dhg, dhf):
    """Fill `dxg`, `dhg` and `dhf`, which comes in as zeros; `dstates` are used up.

    These come in as the gradients by all nodes' states as far as they do not go through parents;
    of state 1, only roots' are looked at.
    """
    dgathered = np.empty((len(hg), weight_hh.shape[1]), hg.dtype)
    arguments = (
        levels.first, levels.children, levels.places, levels.gates, levels.summed,
        packed_weight(weight_hh, False), packed_weight(weight_fh, False), hg, hf,
        *(tuple(state.reshape(-1) for state in some) for some in (states, dstates)),
        dxg, dhg, dhf, dgathered, np.empty_like(dhf), states.shape[2],
    )  # fmt: skip
    operations = _operations(weight_hh, weight_fh)
    _run_levels(_backward(cell, hg.dtype), levels.bounds, operations, arguments, downwards=True)
