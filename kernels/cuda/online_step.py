"""One step of a cell with its local derivatives, for learning forward in time.

The derivatives are the cell's own `backward`, applied to gradients that are 1 for one state and
0 for the others: so every cell has them, and its mathematics stays written once. The products
are cuBLAS's; one kernel a phase does the rest, a thread for each unit of each sequence.
"""

from functools import cache

import cupy
import numpy as np

from ..specialise import specialise, text_of_cell
from .device import INTEGER, cuda, floats, inlined
from .functions import REPLACEMENTS
from .launching import Kernel
from .tuples import add, gather, repeat, scatter

THREADS = 128


def grid(size):
    """Blocks to cover `size` threads."""
    return (-(-size // THREADS), 1, 1)


@cache
def _unit(count, one):
    """A function (like) -> `count` zeros, but number `one`, which is 1."""
    if count == 0:
        return inlined(lambda like: ())
    others, value = _unit(count - 1, one - 1), 1 if one == 0 else 0

    @inlined
    def unit_numbers(like):
        return (type(like)(value),) + others(like)

    return unit_numbers


def _one_phase_derivatives(cell, function):
    """A function that writes a row of coefficients and of by_state for each of the states."""
    put_gates, put_states = scatter(cell.gates), scatter(cell.states)
    gate_count, state_count, apart = cell.gates, cell.states, cell.apart
    parts = 2 if apart else 1

    def of_states(s):
        if s == state_count:
            return inlined(lambda saved, old, new, coefficients, c, by_state, d, hidden: None)
        others, unit = of_states(s + 1), _unit(state_count, s)

        @inlined
        def write(saved, old, new, coefficients, c, by_state, d, hidden):
            dx, dh, dstate = function(saved, old, new, unit(new[0]))
            put_gates(coefficients, c, hidden, dx)
            if apart:
                put_gates(coefficients, c + gate_count * hidden, hidden, dh)
            put_states(by_state, d, hidden, dstate)
            c_next, d_next = c + parts * gate_count * hidden, d + state_count * hidden
            others(saved, old, new, coefficients, c_next, by_state, d_next, hidden)

        return write

    return of_states(0)


@cache
def one_phase_kernel(cell, dtype):
    """The kernel of a one-phase cell."""
    function = specialise(cell.forward, REPLACEMENTS, inlined)
    derivatives = _one_phase_derivatives(cell, specialise(cell.backward, REPLACEMENTS, inlined))
    states, put_states, gates = gather(cell.states), scatter(cell.states), gather(cell.gates)
    gate_count, state_count, parts = cell.gates, cell.states, 2 if cell.apart else 1

    def step(batch, hidden, xg, hg, old, new, coefficients, by_state):
        i = cuda.grid(1)
        if i >= batch * hidden:
            return
        b, j, plane = i // hidden, i % hidden, batch * hidden
        g, olds = b * gate_count * hidden + j, states(old, i, plane)
        values, saved = function(gates(xg, g, hidden), gates(hg, g, hidden), olds)
        put_states(new, i, plane, values)
        c = b * state_count * parts * gate_count * hidden + j
        d = b * state_count * state_count * hidden + j
        derivatives(saved, olds, values, coefficients, c, by_state, d, hidden)

    f, n = floats(dtype), INTEGER
    return Kernel(f"local_step {text_of_cell(cell)} {dtype}", step, (n, n, *(f,) * 6))


@cache
def gate_kernel(cell, dtype):
    """The kernel of a two-phase cell's early gates."""
    gate, early_count = specialise(cell.gate, REPLACEMENTS, inlined), cell.gates - cell.late
    early, put_kept, state = gather(early_count), scatter(cell.kept), gather(1)
    gate_count, kept_count = cell.gates, cell.kept

    def step(batch, hidden, xg, hg, old, gated, kept):
        i = cuda.grid(1)
        if i >= batch * hidden:
            return
        b, j = i // hidden, i % hidden
        g = b * gate_count * hidden + j
        q, carry = gate(early(xg, g, hidden), early(hg, g, hidden), state(old, i, hidden))
        gated[i] = q
        put_kept(kept, b * kept_count * hidden + j, hidden, carry)

    f, n = floats(dtype), INTEGER
    return Kernel(f"local_gate {text_of_cell(cell)} {dtype}", step, (n, n, *(f,) * 5))


@cache
def late_kernel(cell, dtype):
    """The kernel of a two-phase cell's late gates, and of all derivatives."""
    function, late_backward, gate_backward = (
        specialise(f, REPLACEMENTS, inlined)
        for f in (cell.forward, cell.backward, cell.gate_backward)
    )
    early_count, gate_count, kept_count = cell.gates - cell.late, cell.gates, cell.kept
    late, put_late, put_early = gather(cell.late), scatter(cell.late), scatter(early_count)
    keeps, state, put_state, plus = gather(cell.kept), gather(1), scatter(1), add(1)
    nothing = repeat(cell.carried)

    def step(
        batch, hidden, xg, hg, kept, old, new, coefficients, by_state, gated_by, gated_by_state
    ):
        i = cuda.grid(1)
        if i >= batch * hidden:
            return
        b, j, early_rows = i // hidden, i % hidden, early_count * hidden
        c, olds = b * gate_count * hidden + j, state(old, i, hidden)
        values, saved = function(
            late(xg, c + early_rows, hidden),
            late(hg, c + early_rows, hidden),
            olds,
            keeps(kept, b * kept_count * hidden + j, hidden),
        )
        put_state(new, i, hidden, values)
        one, zero = type(values[0])(1), type(values[0])(0)
        da, carried, direct = late_backward(saved, olds, values, (one,))
        put_late(coefficients, c + early_rows, hidden, da)
        early_da, besides = gate_backward(saved, olds, carried, zero)
        put_early(coefficients, c, hidden, early_da)
        put_state(by_state, i, hidden, plus(direct, besides))
        gated_da, gated_direct = gate_backward(saved, olds, nothing(zero), one)
        put_early(gated_by, b * early_rows + j, hidden, gated_da)
        put_state(gated_by_state, i, hidden, gated_direct)

    f, n = floats(dtype), INTEGER
    return Kernel(f"local_late {text_of_cell(cell)} {dtype}", step, (n, n, *(f,) * 9))


def _affine(a, w, bias):
    product = cupy.matmul(a, w.T)
    return product if bias is None else product + bias


def local_step(cell, weights, x, old, new, local):
    """From the states `old` (S, B, H) and x (B, I) the states `new`, and all of `local` but
    its (H, H) arrays.

    weights: (w_ih (G H, I), w_hh (G H, H), b_ih (G H,) or None, b_hh).
    """
    w_ih, w_hh, b_ih, b_hh = weights
    (batch, inputs), hidden = x.shape, old.shape[2]
    local.sources[:, :inputs] = x
    local.sources[:, inputs : inputs + hidden] = old[0]
    blocks, block = grid(batch * hidden), (THREADS, 1, 1)
    xg, lead = _affine(x, w_ih, b_ih), (batch, hidden)
    if not cell.late:
        hg, step = _affine(old[0], w_hh, b_hh), one_phase_kernel(cell, x.dtype)
        step(blocks, block, *lead, xg, hg, old, new, local.coefficients, local.by_state)
        return
    hg, early = cupy.empty_like(xg), (cell.gates - cell.late) * hidden
    hg[:, :early] = _affine(old[0], w_hh[:early], None if b_hh is None else b_hh[:early])
    gated, kept = cupy.empty_like(old[0]), cupy.empty((batch, cell.kept, hidden), x.dtype)
    gate_kernel(cell, x.dtype)(blocks, block, *lead, xg, hg, old, gated, kept)
    local.sources[:, inputs + hidden : inputs + 2 * hidden] = gated
    hg[:, early:] = _affine(gated, w_hh[early:], None if b_hh is None else b_hh[early:])
    late_kernel(cell, x.dtype)(
        blocks, block, *lead, xg, hg, kept, old, new, local.coefficients, local.by_state,
        local.gated_by, local.gated_by_state,
    )  # fmt: skip


@cache
def combine_kernel(dtype):
    """The kernel of out[b, k, j] = sum over g of coefficient[b, g, k] w[g, k, j], plus a
    diagonal where `diagonal_each` > 0. Of a sequence, the coefficients begin `each` further on.
    """
    dtype = np.dtype(dtype)

    def combine(size, hidden, gates, w, coefficients, each, diagonal, diagonal_each, out):
        i = cuda.grid(1)
        if i >= size:
            return
        j, k, b = i % hidden, i // hidden % hidden, i // (hidden * hidden)
        total = w[0] * type(w[0])(0)
        if diagonal_each > 0 and j == k:
            total = diagonal[b * diagonal_each + k]
        for g in range(gates):
            at = g * hidden + k
            total += coefficients[b * each + at] * w[at * hidden + j]
        out[i] = total

    f, n = floats(dtype), INTEGER
    return Kernel(f"combine_gates {dtype}", combine, (n, n, n, f, f, n, f, n, f))


def transition(cell, w_hh, local):
    """Fill `local.transition` and `local.through` from the rest of `local`."""
    states, batch, hidden = local.transition.shape[:3]
    early, by_state = cell.gates - cell.late, local.by_state
    size, each = batch * hidden * hidden, local.coefficients[0].size
    combine, blocks, block = combine_kernel(w_hh.dtype), grid(size), (THREADS, 1, 1)
    for s in range(states):
        coefficients = local.coefficients[:, s, -1]
        combine(
            blocks, block, size, hidden, early, w_hh, coefficients.data.ptr, each,
            by_state[:, s].data.ptr, by_state[0].size, local.transition[s],
        )  # fmt: skip
    if cell.late:
        gated, late = cupy.empty_like(local.through), local.coefficients[:, 0, 0, early:]
        combine(
            blocks, block, size, hidden, early, w_hh, local.gated_by, early * hidden,
            local.gated_by_state, hidden, gated,
        )  # fmt: skip
        combine(
            blocks, block, size, hidden, cell.late, w_hh[early * hidden :], late.data.ptr, each,
            local.gated_by_state, 0, local.through,
        )  # fmt: skip
        local.transition[0] += cupy.matmul(local.through, gated)
