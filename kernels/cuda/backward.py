"""One step backward, fused, for any cell.

Time runs against the forward pass. A step first completes the gradient by its new states: what
the later step left in `carry` (S, B, H), plus that step's product of gate gradients and
recurrent weights, plus dy. Gate gradients dxg, dhg are (T, B, heads, G, H / heads), one array
where the cell does not tell them apart; past a sequence's end they are zero. The rows of the
recurrent weights stand in the same order, head by head. What goes through the recurrent product,
`later_dhg` and `late_dhg`, is dhg, or of a normalised cell what `normalisation` makes of it.
dweights (T, B, W, H) are the gradients by the cell's own weights, left alone past the ends.
With a dtype of 16 bits `carry`, `carried`, the history and the tape are float32, gates' and
weights' gradients are of 16.
"""

from functools import cache

import numpy as np

from ..signatures import backward_of, gate_backward_of
from ..specialise import specialise, text_of_cell
from .device import INTEGER, INTEGERS, cuda, floats, inlined, working
from .extras import gather_extras, types_of_extras
from .functions import REPLACEMENTS
from .launching import Kernel
from .tiles import among_all, own_place, unit_product
from .tuples import add, add_at, gather, repeat, scatter


@cache
def backward_step(cell, dtype):
    """The kernel of a one-phase cell.

    Rows of `depth` numbers of `later`, `pitch` numbers apart, by the weights w make what the
    gradient by the hidden state lacks.
    """
    dtype = np.dtype(dtype)
    function, product = specialise(backward_of(cell), REPLACEMENTS, inlined), unit_product(dtype)
    states, saves, put_states = gather(cell.states), gather(cell.saved), scatter(cell.states)
    put_gates, zeros = scatter(cell.gates), repeat(cell.gates)
    gate_count, saved_count, apart = cell.gates, cell.saved, cell.apart
    plus_output, extra = add_at(cell.output), gather_extras(cell.extras)
    put_weights, weight_count = scatter(len(cell.weights)), len(cell.weights)

    def backward(
        t, lengths, batch, hidden, later, pitch, depth, w, extras, dy, dy_stride, old, new, plane,
        tape, carry, carry_plane, dxg, dhg, dweights,
    ):  # fmt: skip
        b, row, j = own_place()
        present = b < batch
        first = cuda.blockIdx.z * pitch * hidden
        through = product(later, row * pitch, w, first, hidden, depth, present)
        if not present or j >= hidden:
            return
        at, gates_at = row * hidden + j, row * gate_count * hidden + j
        if t >= lengths[b]:
            carry[at] += through  # of a reverse direction, whose first step is behind
            nothing = zeros(type(through)(0))
            put_gates(dxg, gates_at, hidden, nothing)
            if apart:
                put_gates(dhg, gates_at, hidden, nothing)
            return
        unit, width = among_all(j, hidden)
        dnew = states(carry, at, carry_plane)
        dnew = plus_output((dnew[0] + through,) + dnew[1:], dy[b * dy_stride + unit])
        dx, dh, dstate, by_weights = function(
            saves(tape, row * saved_count * hidden + j, hidden),
            states(old, at, plane),
            states(new, at, plane),
            dnew,
            extra(extras, t, b, unit),
        )
        put_gates(dxg, gates_at, hidden, dx)
        if apart:
            put_gates(dhg, gates_at, hidden, dh)
        put_states(carry, at, carry_plane, dstate)
        put_weights(dweights, b * weight_count * width + unit, width, by_weights)

    f, s, i = floats(dtype), floats(working(dtype)), INTEGER
    more = types_of_extras(cell, dtype)
    types = (i, INTEGERS, i, i, f, i, i, f, more, f, i, s, s, i, s, s, i, f, f, f)
    return Kernel(f"backward_step {text_of_cell(cell)} {dtype}", backward, types)


@cache
def late_backward_step(cell, dtype):
    """The kernel of a two-phase cell's late gates, which come first on the way back."""
    dtype = np.dtype(dtype)
    function, product = specialise(backward_of(cell), REPLACEMENTS, inlined), unit_product(dtype)
    states, saves, put_states = gather(cell.states), gather(cell.saved), scatter(cell.states)
    put_late, zeros, put_carried = scatter(cell.late), repeat(cell.late), scatter(cell.carried)
    gate_count, saved_count, carried_count = cell.gates, cell.saved, cell.carried
    early_count = cell.gates - cell.late
    plus_output, extra = add_at(cell.output), gather_extras(cell.extras)

    def backward(
        t, lengths, batch, hidden, later, pitch, depth, w, extras, dy, dy_stride, old, new, plane,
        tape, carry, carry_plane, dg, carried,
    ):  # fmt: skip
        b, row, j = own_place()
        present = b < batch
        first = cuda.blockIdx.z * pitch * hidden
        through = product(later, row * pitch, w, first, hidden, depth, present)
        if not present or j >= hidden:
            return
        at, late_at = row * hidden + j, (row * gate_count + early_count) * hidden + j
        if t >= lengths[b]:
            carry[at] += through  # of a reverse direction, whose first step is behind
            put_late(dg, late_at, hidden, zeros(type(through)(0)))
            return
        unit, _ = among_all(j, hidden)
        dnew = states(carry, at, carry_plane)
        dnew = plus_output((dnew[0] + through,) + dnew[1:], dy[b * dy_stride + unit])
        da, passed, dstate, _ = function(
            saves(tape, row * saved_count * hidden + j, hidden),
            states(old, at, plane),
            states(new, at, plane),
            dnew,
            extra(extras, t, b, unit),
        )
        put_late(dg, late_at, hidden, da)
        put_carried(carried, row * carried_count * hidden + j, hidden, passed)
        put_states(carry, at, carry_plane, dstate)

    f, s, i = floats(dtype), floats(working(dtype)), INTEGER
    more = types_of_extras(cell, dtype)
    types = (i, INTEGERS, i, i, f, i, i, f, more, f, i, s, s, i, s, s, i, f, s)
    return Kernel(f"late_backward_step {text_of_cell(cell)} {dtype}", backward, types)


@cache
def gate_backward_step(cell, dtype):
    """The kernel of a two-phase cell's early gates; `w_hh` are the late gates' weights."""
    dtype = np.dtype(dtype)
    early_count = cell.gates - cell.late
    function, product = (
        specialise(gate_backward_of(cell), REPLACEMENTS, inlined),
        unit_product(dtype),
    )
    states, saves, put_states = gather(cell.states), gather(cell.saved), scatter(cell.states)
    put_early, zeros, get_carried = scatter(early_count), repeat(early_count), gather(cell.carried)
    gate_count, late_count, plus = cell.gates, cell.late, add(cell.states)
    saved_count, carried_count, extra = cell.saved, cell.carried, gather_extras(cell.extras)

    def backward(
        t, lengths, batch, hidden, late_dhg, w_hh, extras, old, plane, tape, carry, carry_plane,
        dxg, carried,
    ):  # fmt: skip
        b, row, j = own_place()
        present = b < batch
        gates_at, of_head = row * gate_count * hidden, gate_count * hidden * hidden
        dgated = product(
            late_dhg, gates_at + early_count * hidden, w_hh, cuda.blockIdx.z * of_head, hidden,
            late_count * hidden, present,
        )  # fmt: skip
        if not present or j >= hidden:
            return
        at, (unit, _) = row * hidden + j, among_all(j, hidden)
        if t >= lengths[b]:
            put_early(dxg, gates_at + j, hidden, zeros(type(dgated)(0)))
            return
        da, dstate = function(
            saves(tape, row * saved_count * hidden + j, hidden),
            states(old, at, plane),
            get_carried(carried, row * carried_count * hidden + j, hidden),
            dgated,
            extra(extras, t, b, unit),
        )
        put_early(dxg, gates_at + j, hidden, da)
        put_states(carry, at, carry_plane, plus(states(carry, at, carry_plane), dstate))

    f, s, i = floats(dtype), floats(working(dtype)), INTEGER
    types = (i, INTEGERS, i, i, f, f, types_of_extras(cell, dtype), s, i, s, s, i, f, s)
    return Kernel(f"gate_backward_step {text_of_cell(cell)} {dtype}", backward, types)


@cache
def last_backward_step(dtype):
    """The kernel that adds the first step's recurrent product to the initial state's gradient."""
    dtype = np.dtype(dtype)
    product = unit_product(dtype)

    def backward(batch, hidden, dhg, pitch, depth, w_hh, carry):
        b, row, j = own_place()
        present = b < batch
        first = cuda.blockIdx.z * pitch * hidden
        through = product(dhg, row * pitch, w_hh, first, hidden, depth, present)
        if present and j < hidden:
            carry[row * hidden + j] += through

    f, s, i = floats(dtype), floats(working(dtype)), INTEGER
    return Kernel(f"last_backward_step {dtype}", backward, (i, i, f, i, i, f, s))
