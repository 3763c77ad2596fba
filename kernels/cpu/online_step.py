"""One step of a cell with its local derivatives, for learning forward in time.

The derivatives are the cell's own `backward`, applied to gradients that are 1 for one state and
0 for the others: so every cell has them, and its mathematics stays written once.
"""

from functools import cache

import numpy as np

from ..specialise import specialise, text_of_cell
from .compiling import inlined, kernel, part
from .dots import dot_rows
from .functions import REPLACEMENTS
from .simd import REGISTER_BYTES, broadcast, lanes_of, load_part, store_part
from .threads import run_parallel, shares, split
from .tuples import add, gather_part, scatter_part
from .views import flattened


@cache
def _unit(count, one):
    """A function (like) -> `count` vectors of zeros, but number `one`, which is of ones."""
    if count == 0:
        return inlined(lambda like: ())
    others, value = _unit(count - 1, one - 1), 1 if one == 0 else 0

    @inlined
    def unit_vectors(like):
        return (broadcast(like, value),) + others(like)

    return unit_vectors


@part
def _multiply_sources(w, first_row, last_row, bias, sources, at, first, last, out):
    """out[b - first, row] = w[row] . sources[b, at:] + bias[row], b = first .. last - 1."""
    depth, lanes = w.shape[1], REGISTER_BYTES // w.itemsize
    w_flat, s_flat, out_flat = flattened(w), flattened(sources), flattened(out)
    for row in range(first_row, last_row, lanes):
        n = min(lanes, last_row - row)
        for b in range(first, last):
            s_at = b * sources.shape[1] + at
            values = dot_rows(w_flat, row * depth, depth, n, s_flat, s_at, depth)
            if bias.size:
                values = values + load_part(bias, row, n)
            store_part(out_flat, (b - first) * out.shape[1] + row, values, n)


def _one_phase_derivatives(cell, function):
    """A function that writes a row of coefficients and of by_state for each of the states."""
    put_gates, put_states = scatter_part(cell.gates), scatter_part(cell.states)
    gate_count, state_count, apart = cell.gates, cell.states, cell.apart
    parts = 2 if apart else 1

    def of_states(s):
        if s == state_count:
            return inlined(lambda saved, old, new, coefficients, c, by_state, d, hidden, n: None)
        others, unit = of_states(s + 1), _unit(state_count, s)

        @inlined
        def write(saved, old, new, coefficients, c, by_state, d, hidden, n):
            dx, dh, dstate = function(saved, old, new, unit(new[0]))
            put_gates(coefficients, c, hidden, dx, n)
            if apart:
                put_gates(coefficients, c + gate_count * hidden, hidden, dh, n)
            put_states(by_state, d, hidden, dstate, n)
            c += parts * gate_count * hidden
            others(saved, old, new, coefficients, c, by_state, d + state_count * hidden, hidden, n)

        return write

    return of_states(0)


@cache
def _one_phase(cell, dtype):
    lanes, states, put_states = lanes_of(dtype), gather_part(cell.states), scatter_part(cell.states)
    function = specialise(cell.forward, REPLACEMENTS, inlined)
    derivatives = _one_phase_derivatives(cell, specialise(cell.backward, REPLACEMENTS, inlined))
    gates, gate_count, state_count = gather_part(cell.gates), cell.gates, cell.states

    @kernel(f"local_step {text_of_cell(cell)} {dtype}")
    def step(
        first, last, inputs, w_ih, w_hh, b_ih, b_hh, old, new, sources, coefficients, by_state,
        gated_by, gated_by_state,
    ):  # fmt: skip
        batch, hidden = old.shape[1:]
        rows, plane = gate_count * hidden, batch * hidden
        xg = np.empty((last - first, rows), old.dtype)
        hg = np.empty_like(xg)
        _multiply_sources(w_ih, 0, rows, b_ih, sources, 0, first, last, xg)
        _multiply_sources(w_hh, 0, rows, b_hh, sources, inputs, first, last, hg)
        x_flat, h_flat = flattened(xg), flattened(hg)
        old_flat, new_flat = flattened(old), flattened(new)
        for b in range(first, last):
            for j in range(0, hidden, lanes):
                n, at, g = min(lanes, hidden - j), b * hidden + j, (b - first) * rows + j
                olds = states(old_flat, at, plane, n)
                values, saved = function(
                    gates(x_flat, g, hidden, n), gates(h_flat, g, hidden, n), olds
                )
                put_states(new_flat, at, plane, values, n)
                derivatives(
                    saved, olds, values,
                    flattened(coefficients), b * coefficients[0].size + j,
                    flattened(by_state), b * state_count * state_count * hidden + j, hidden, n,
                )  # fmt: skip

    return step


@cache
def _two_phase(cell, dtype):
    lanes = lanes_of(dtype)
    gate, function, late_backward, gate_backward = (
        specialise(f, REPLACEMENTS, inlined)
        for f in (cell.gate, cell.forward, cell.backward, cell.gate_backward)
    )
    early_count, gate_count, kept_count = cell.gates - cell.late, cell.gates, cell.kept
    early, put_early = gather_part(early_count), scatter_part(early_count)
    late, put_late = gather_part(cell.late), scatter_part(cell.late)
    keeps, put_keeps, plus = gather_part(cell.kept), scatter_part(cell.kept), add(1)
    nothing, state, put_state = _unit(cell.carried, -1), gather_part(1), scatter_part(1)

    @kernel(f"local_step {text_of_cell(cell)} {dtype}")
    def step(
        first, last, inputs, w_ih, w_hh, b_ih, b_hh, old, new, sources, coefficients, by_state,
        gated_by, gated_by_state,
    ):  # fmt: skip
        hidden = old.shape[2]
        rows, early_rows = gate_count * hidden, early_count * hidden
        xg = np.empty((last - first, rows), old.dtype)
        hg = np.empty_like(xg)
        kept = np.empty((last - first) * kept_count * hidden, old.dtype)
        _multiply_sources(w_ih, 0, rows, b_ih, sources, 0, first, last, xg)
        _multiply_sources(w_hh, 0, early_rows, b_hh, sources, inputs, first, last, hg)
        x_flat, h_flat, s_flat = flattened(xg), flattened(hg), flattened(sources)
        old_flat, new_flat = flattened(old), flattened(new)
        gated = inputs + hidden
        for b in range(first, last):
            for j in range(0, hidden, lanes):
                n, g = min(lanes, hidden - j), (b - first) * rows + j
                q, carry = gate(
                    early(x_flat, g, hidden, n),
                    early(h_flat, g, hidden, n),
                    state(old_flat, b * hidden + j, hidden, n),
                )
                store_part(s_flat, b * sources.shape[1] + gated + j, q, n)
                put_keeps(kept, (b - first) * kept_count * hidden + j, hidden, carry, n)
        _multiply_sources(w_hh, early_rows, rows, b_hh, sources, gated, first, last, hg)
        coefficients_flat = flattened(coefficients)
        for b in range(first, last):
            for j in range(0, hidden, lanes):
                n, at, g = min(lanes, hidden - j), b * hidden + j, (b - first) * rows + j
                olds = state(old_flat, at, hidden, n)
                values, saved = function(
                    late(x_flat, g + early_rows, hidden, n),
                    late(h_flat, g + early_rows, hidden, n),
                    olds,
                    keeps(kept, (b - first) * kept_count * hidden + j, hidden, n),
                )
                put_state(new_flat, at, hidden, values, n)
                one, zero = broadcast(values[0], 1), broadcast(values[0], 0)
                c = b * rows + j
                da, carried, direct = late_backward(saved, olds, values, (one,))
                put_late(coefficients_flat, c + early_rows, hidden, da, n)
                da, besides = gate_backward(saved, olds, carried, zero)
                put_early(coefficients_flat, c, hidden, da, n)
                put_state(flattened(by_state), at, hidden, plus(direct, besides), n)
                da, direct = gate_backward(saved, olds, nothing(zero), one)
                put_early(flattened(gated_by), b * early_rows + j, hidden, da, n)
                put_state(flattened(gated_by_state), at, hidden, direct, n)

    return step


def local_step(cell, weights, x, old, new, local):
    """From the states `old` (S, B, H) and x (B, I) the states `new`, and all of `local` but
    its (H, H) arrays.

    weights: (w_ih (G H, I), w_hh (G H, H), b_ih (G H,) or None, b_hh).
    """
    (batch, inputs), hidden = x.shape, old.shape[2]
    local.sources[:, :inputs] = x
    local.sources[:, inputs : inputs + hidden] = old[0]
    nothing = np.empty(0, x.dtype)
    arrays = [nothing if w is None else w for w in weights]
    step = (_two_phase if cell.late else _one_phase)(cell, x.dtype)
    work = 2 * batch * cell.gates * hidden * (inputs + hidden)
    run_parallel(
        step,
        [
            (
                first, last, inputs, *arrays, old, new, local.sources, local.coefficients,
                local.by_state, local.gated_by, local.gated_by_state,
            )
            for first, last in split(batch, shares(work))
        ],
    )  # fmt: skip


@kernel("transition")
def _transition(first, last, early_rows, w_hh, coefficients, by_state, gated_by, gated_by_state,
                transition, through):  # fmt: skip
    states, _, hidden = transition.shape[:3]
    gates, last_part = coefficients.shape[3], coefficients.shape[2] - 1
    early, late = early_rows // hidden, gates - early_rows // hidden
    gated = np.empty((hidden if late else 0, hidden), w_hh.dtype)
    for b in range(first, last):
        for s in range(states):
            for k in range(hidden):
                row = transition[s, b, k]
                row[:] = 0
                for g in range(early):
                    factor, w = coefficients[b, s, last_part, g, k], w_hh[g * hidden + k]
                    for j in range(hidden):
                        row[j] += factor * w[j]
                row[k] += by_state[b, s, 0, k]
        if late:
            for k in range(hidden):
                gated[k] = 0
                for g in range(early):
                    factor, w = gated_by[b, g, k], w_hh[g * hidden + k]
                    for j in range(hidden):
                        gated[k, j] += factor * w[j]
                gated[k, k] += gated_by_state[b, k]
            for k in range(hidden):
                through[b, k] = 0
                for g in range(early, gates):
                    factor, w = coefficients[b, 0, last_part, g, k], w_hh[g * hidden + k]
                    for j in range(hidden):
                        through[b, k, j] += factor * w[j]
                row = transition[0, b, k]
                for l in range(hidden):
                    factor = through[b, k, l]
                    for j in range(hidden):
                        row[j] += factor * gated[l, j]


def transition(cell, w_hh, local):
    """Fill `local.transition` and `local.through` from the rest of `local`."""
    (states, batch, hidden), early_rows = local.transition.shape[:3], (cell.gates - cell.late)
    work = 2 * batch * states * cell.gates * hidden * hidden * (hidden if cell.late else 1)
    run_parallel(
        _transition,
        [
            (
                first, last, early_rows * hidden, w_hh, local.coefficients, local.by_state,
                local.gated_by, local.gated_by_state, local.transition, local.through,
            )
            for first, last in split(batch, shares(work))
        ],
    )  # fmt: skip
