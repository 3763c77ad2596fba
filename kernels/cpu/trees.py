"""Networks over trees, level by level. For what the arrays hold see `tree_levels`."""

from functools import cache

import numpy as np

from ..specialise import specialise, text_of_tree_cell
from ..tree_nodes import backward_node, forward_node
from . import tuples
from .compiling import inlined, kernel
from .functions import REPLACEMENTS
from .linear import multiply_rows, packed_weight
from .simd import lanes_of
from .threads import get_num_threads, run_parallel, split
from .views import flattened

BLOCK_ROWS = 64  # nodes worked on at once: what one phase writes, the next finds in the cache
LEVEL_WORTH_SHARING = 4_000_000  # operations; below, threads wait longer than they work


def _compiled(function):
    return specialise(function, REPLACEMENTS, inlined)


@inlined
def _gather_children(begin, end, base, first, children, places, states, gathered, units):
    """Put the hidden states of the children of nodes begin .. end - 1 into their places."""
    width, rows = gathered.shape[1], flattened(gathered)
    for i in range((begin - base) * width, (end - base) * width):
        rows[i] = 0
    for e in range(first[begin], first[end]):
        at, to = children[e] * units, places[children[e]] * units - base * width
        for u in range(units):
            rows[to + u] += states[at + u]


@cache
def _forward(cell, dtype):
    lanes, with_gates = lanes_of(dtype), cell.forward_child is not None
    forward_units = forward_node(cell, _compiled, tuples)

    @kernel(f"tree_forward {text_of_tree_cell(cell)} {dtype}")
    def forward(
        starts, ends, first, children, places, gate_places, summed, to_gates, to_child_gates,
        xg, gathered, hg, hf, states, kept,
    ):  # fmt: skip
        plane, units, x_width = states[0].size, states.shape[2], xg.shape[1]
        xg_flat, hg_flat, hf_flat = flattened(xg), flattened(hg), flattened(hf)
        states_flat, hidden = flattened(states), states[0]
        for level in range(starts.size):
            for begin in range(starts[level], ends[level], BLOCK_ROWS):
                end = min(begin + BLOCK_ROWS, ends[level])
                base = 0 if kept else begin
                moved = 0 if summed else base * (gathered.shape[1] // units)
                if first[end] > first[begin]:
                    _gather_children(
                        begin, end, base, first, children, places, states_flat, gathered, units
                    )
                    multiply_rows(gathered, begin - base, end - base, to_gates, hg)
                    if with_gates and not summed:
                        multiply_rows(gathered, begin - base, end - base, to_child_gates, hf)
                else:
                    hg[begin - base : end - base] = 0
                for node in range(begin, end):
                    for u in range(0, units, lanes):
                        forward_units(
                            node, node - base, moved, u, min(lanes, units - u), units, x_width,
                            plane, first, children, gate_places, xg_flat, hg_flat, hf_flat,
                            states_flat,
                        )  # fmt: skip
                if with_gates and summed:
                    multiply_rows(hidden, begin, end, to_child_gates, hf)

    return forward


@cache
def _backward(cell, dtype):
    lanes, with_gates = lanes_of(dtype), cell.forward_child is not None
    backward_units = backward_node(cell, _compiled, tuples)

    @kernel(f"tree_backward {text_of_tree_cell(cell)} {dtype}")
    def backward(
        starts, ends, first, children, places, gate_places, summed, from_gates, from_child_gates,
        hg, hf, states, dstates, dxg, dhg, dhf, dgathered, dgated,
    ):  # fmt: skip
        plane, units, x_width = states[0].size, states.shape[2], dxg.shape[1]
        hg_flat, hf_flat = flattened(hg), flattened(hf)
        states_flat, dstates_flat = flattened(states), flattened(dstates)
        dxg_flat, dhg_flat, dhf_flat = flattened(dxg), flattened(dhg), flattened(dhf)
        dgathered_flat, dgated_flat = flattened(dgathered), flattened(dgated)
        for level in range(starts.size):
            for begin in range(starts[level], ends[level], BLOCK_ROWS):
                end = min(begin + BLOCK_ROWS, ends[level])
                if with_gates and summed:
                    multiply_rows(dhf, begin, end, from_child_gates, dgated)
                for node in range(begin, end):
                    for u in range(0, units, lanes):
                        backward_units(
                            node, u, min(lanes, units - u), units, x_width, plane, first, children,
                            places, gate_places, hg_flat, hf_flat, states_flat, dstates_flat,
                            dxg_flat, dhg_flat, dhf_flat, dgathered_flat, dgated_flat,
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


def _run_levels(function, bounds, operations, arguments_of_part, downwards=False):
    runs = _runs(bounds, operations)
    for parts in reversed(runs) if downwards else runs:
        parts = [part[:, ::-1] for part in parts] if downwards else parts
        run_parallel(
            function, [(*np.ascontiguousarray(part), *arguments_of_part()) for part in parts]
        )


def _operations(*weights):
    return 2 * sum(w.size for w in weights)


def tree_forward(cell, levels, weight_hh, weight_fh, xg, states, tape=None):
    """Fill `states` (S, N, H) from `xg`, and `tape` = (gathered, hg, hf) for the way back.

    weight_hh (G H, K H); weight_fh (K H, K H), or (0, 0) if children have no gates. Without a
    tape, a few rows of such arrays are used again and again.
    """
    tables = (
        levels.first, levels.children, levels.places, levels.gates, levels.summed,
        packed_weight(weight_hh, True), packed_weight(weight_fh, True), xg,
    )  # fmt: skip
    summed_gates = np.empty((states.shape[1] if levels.summed else 0, len(weight_fh)), xg.dtype)

    def rows(width):
        return np.empty((BLOCK_ROWS, width), xg.dtype)

    def arguments():
        """Those of a part of a level: each thread has rows of its own."""
        arrays = tape or (
            rows(weight_hh.shape[1]), rows(len(weight_hh)),
            summed_gates if levels.summed else rows(len(weight_fh)),
        )  # fmt: skip
        return *tables, *arrays, states, tape is not None

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
        packed_weight(weight_hh, False), packed_weight(weight_fh, False), hg, hf, states, dstates,
        dxg, dhg, dhf, dgathered, np.empty_like(dhf),
    )  # fmt: skip
    operations = _operations(weight_hh, weight_fh)
    _run_levels(
        _backward(cell, hg.dtype), levels.bounds, operations, lambda: arguments, downwards=True
    )
