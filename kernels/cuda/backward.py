"""One step backward, fused, for any cell.

Time runs against the forward pass. A step first completes the gradient by its new states: what
the later step left in `carry` (S, B, H), plus that step's product of gate gradients and
recurrent weights, plus dy. Gate gradients dxg, dhg are (T, B, G, H), one array where the cell
does not tell them apart; past a sequence's end they are zero.
"""

from functools import cache

import numpy as np

from ..specialise import specialise, text_of_cell
from .device import INTEGER, INTEGERS, cuda, floats, inlined
from .functions import REPLACEMENTS
from .launching import Kernel
from .tiles import COLUMNS, ROWS, unit_product
from .tuples import add, gather, repeat, scatter


@cache
def backward_step(cell, dtype):
    """The kernel of a one-phase cell. `follows`: whether a later step left gate gradients."""
    dtype = np.dtype(dtype)
    function, product = specialise(cell.backward, REPLACEMENTS, inlined), unit_product(dtype)
    states, saves, put_states = gather(cell.states), gather(cell.saved), scatter(cell.states)
    put_gates, zeros = scatter(cell.gates), repeat(cell.gates)
    gate_count, saved_count, apart = cell.gates, cell.saved, cell.apart

    def backward(
        t, lengths, batch, hidden, follows, later_dhg, w_hh, dy, dy_stride, old, new, plane, tape,
        carry, carry_plane, dxg, dhg,
    ):  # fmt: skip
        b = cuda.blockIdx.y * ROWS + cuda.threadIdx.y
        j = cuda.blockIdx.x * COLUMNS + cuda.threadIdx.x
        present = b < batch
        gates_at, depth = b * gate_count * hidden, gate_count * hidden * follows
        through = product(later_dhg, gates_at, w_hh, hidden, depth, present)
        if not present or j >= hidden:
            return
        at, gates_at = b * hidden + j, gates_at + j
        if t >= lengths[b]:
            carry[at] += through  # of a reverse direction, whose first step is behind
            nothing = zeros(type(through)(0))
            put_gates(dxg, gates_at, hidden, nothing)
            if apart:
                put_gates(dhg, gates_at, hidden, nothing)
            return
        dnew = states(carry, at, carry_plane)
        dnew = (dnew[0] + through + dy[b * dy_stride + j],) + dnew[1:]
        dx, dh, dstate = function(
            saves(tape, b * saved_count * hidden + j, hidden),
            states(old, at, plane),
            states(new, at, plane),
            dnew,
        )
        put_gates(dxg, gates_at, hidden, dx)
        if apart:
            put_gates(dhg, gates_at, hidden, dh)
        put_states(carry, at, carry_plane, dstate)

    f, i = floats(dtype), INTEGER
    types = (i, INTEGERS, i, i, i, f, f, f, i, f, f, i, f, f, i, f, f)
    return Kernel(f"backward_step {text_of_cell(cell)} {dtype}", backward, types)


@cache
def late_backward_step(cell, dtype):
    """The kernel of a two-phase cell's late gates, which come first on the way back."""
    dtype = np.dtype(dtype)
    function, product = specialise(cell.backward, REPLACEMENTS, inlined), unit_product(dtype)
    states, saves, put_states = gather(cell.states), gather(cell.saved), scatter(cell.states)
    put_late, zeros, put_carried = scatter(cell.late), repeat(cell.late), scatter(cell.carried)
    gate_count, saved_count, carried_count = cell.gates, cell.saved, cell.carried
    early_count = cell.gates - cell.late

    def backward(
        t, lengths, batch, hidden, follows, later_dg, w_hh, dy, dy_stride, old, new, plane, tape,
        carry, carry_plane, dg, carried,
    ):  # fmt: skip
        b = cuda.blockIdx.y * ROWS + cuda.threadIdx.y
        j = cuda.blockIdx.x * COLUMNS + cuda.threadIdx.x
        present = b < batch
        gates_at, depth = b * gate_count * hidden, early_count * hidden * follows
        through = product(later_dg, gates_at, w_hh, hidden, depth, present)
        if not present or j >= hidden:
            return
        at, late_at = b * hidden + j, gates_at + early_count * hidden + j
        if t >= lengths[b]:
            carry[at] += through  # of a reverse direction, whose first step is behind
            put_late(dg, late_at, hidden, zeros(type(through)(0)))
            return
        dnew = states(carry, at, carry_plane)
        dnew = (dnew[0] + through + dy[b * dy_stride + j],) + dnew[1:]
        da, passed, dstate = function(
            saves(tape, b * saved_count * hidden + j, hidden),
            states(old, at, plane),
            states(new, at, plane),
            dnew,
        )
        put_late(dg, late_at, hidden, da)
        put_carried(carried, b * carried_count * hidden + j, hidden, passed)
        put_states(carry, at, carry_plane, dstate)

    f, i = floats(dtype), INTEGER
    types = (i, INTEGERS, i, i, i, f, f, f, i, f, f, i, f, f, i, f, f)
    return Kernel(f"late_backward_step {text_of_cell(cell)} {dtype}", backward, types)


@cache
def gate_backward_step(cell, dtype):
    """The kernel of a two-phase cell's early gates; `w_hh` are the late gates' weights."""
    dtype = np.dtype(dtype)
    early_count = cell.gates - cell.late
    function, product = specialise(cell.gate_backward, REPLACEMENTS, inlined), unit_product(dtype)
    states, saves, put_states = gather(cell.states), gather(cell.saved), scatter(cell.states)
    put_early, zeros, get_carried = scatter(early_count), repeat(early_count), gather(cell.carried)
    gate_count, late_count, plus = cell.gates, cell.late, add(cell.states)
    saved_count, carried_count = cell.saved, cell.carried

    def backward(
        t, lengths, batch, hidden, w_hh, old, plane, tape, carry, carry_plane, dg, carried
    ):
        b = cuda.blockIdx.y * ROWS + cuda.threadIdx.y
        j = cuda.blockIdx.x * COLUMNS + cuda.threadIdx.x
        present = b < batch
        gates_at = b * gate_count * hidden
        dgated = product(
            dg, gates_at + early_count * hidden, w_hh, hidden, late_count * hidden, present
        )
        if not present or j >= hidden:
            return
        at = b * hidden + j
        if t >= lengths[b]:
            put_early(dg, gates_at + j, hidden, zeros(type(dgated)(0)))
            return
        da, dstate = function(
            saves(tape, b * saved_count * hidden + j, hidden),
            states(old, at, plane),
            get_carried(carried, b * carried_count * hidden + j, hidden),
            dgated,
        )
        put_early(dg, gates_at + j, hidden, da)
        put_states(carry, at, carry_plane, plus(states(carry, at, carry_plane), dstate))

    f, i = floats(dtype), INTEGER
    types = (i, INTEGERS, i, i, f, f, i, f, f, i, f, f)
    return Kernel(f"gate_backward_step {text_of_cell(cell)} {dtype}", backward, types)


@cache
def last_backward_step(cell, dtype):
    """The kernel that adds the first step's recurrent product to the initial state's gradient."""
    dtype = np.dtype(dtype)
    product, gate_count, early_count = unit_product(dtype), cell.gates, cell.gates - cell.late

    def backward(batch, hidden, dhg, w_hh, carry):
        b = cuda.blockIdx.y * ROWS + cuda.threadIdx.y
        j = cuda.blockIdx.x * COLUMNS + cuda.threadIdx.x
        present = b < batch
        through = product(dhg, b * gate_count * hidden, w_hh, hidden, early_count * hidden, present)
        if present and j < hidden:
            carry[b * hidden + j] += through

    f, i = floats(dtype), INTEGER
    identity = f"last_backward_step {gate_count} {early_count} {dtype}"
    return Kernel(identity, backward, (i, i, f, f, f))
