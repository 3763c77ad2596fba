"""The cell's backward functions over some hidden units of some sequences.

Besides the layouts of `passes`:
- dxg, dhg (T, B, G, H'): the gradients by the gates' input and recurrent products; one array
  where the cell does not tell them apart.
- dweights (T, B, W, H'): the gradients by the cell's own weights, of each step and sequence.
- carry (S, rows, width): the gradients by the states, from step to step; row r of the first
  begins at carry_offsets[r], of the others `carry_plane` further each.
"""

from functools import cache

from ..signatures import backward_of, gate_backward_of
from ..specialise import specialise
from .compiling import inlined
from .extras import gather_extras, load_row
from .functions import REPLACEMENTS
from .simd import lanes_of, load
from .tuples import add, add_at, gather, scatter
from .views import flattened


def _compiled(function):
    return specialise(function, REPLACEMENTS, inlined)


@cache
def cell_backward_pass(cell, dtype):
    """From the gradients by the states after step t to those by its gates, and by the states
    before as far as they do not go through the recurrent product.

    Of a two-phase cell to those by its late gates; `carried` (rows, C, H') takes what the early
    gates need.
    """
    lanes, two_phase = lanes_of(dtype), bool(cell.late)
    function, extra = _compiled(backward_of(cell)), gather_extras(cell.extras, lanes)
    dy_units, plus_output = load_row(lanes), add_at(cell.output)
    states, saves, put_states = gather(cell.states), gather(cell.saved), scatter(cell.states)
    put_gates, put_carried = scatter(cell.late or cell.gates), scatter(cell.carried)
    put_weights, weight_count = scatter(len(cell.weights)), len(cell.weights)
    saved_count, gate_count, apart = cell.saved, cell.gates, cell.apart
    early_count, carried_count = (cell.gates - cell.late if two_phase else 0), cell.carried

    @inlined
    def run(
        begin, end, count, rows, t, before, after, dy, dy_offset, dy_stride, hidden, extras,
        history, tape, dxg, dhg, dweights, carry, carry_offsets, carry_plane, carried,
    ):  # fmt: skip
        slots, batch, padded = history.shape[1:]
        plane = slots * batch * padded
        states_flat, tape_flat = flattened(history), flattened(tape)
        dx_flat, dh_flat, dweights_flat = flattened(dxg), flattened(dhg), flattened(dweights)
        for r in range(count):
            at = t * batch + rows[r]
            dy_at, gate_at = dy_offset + at * dy_stride, (at * gate_count + early_count) * padded
            old, new = (before * batch + rows[r]) * padded, (after * batch + rows[r]) * padded
            for j in range(begin, end, lanes):
                carry_at = carry_offsets[r] + j
                dx, dh, dstate, by_weights = function(
                    saves(tape_flat, at * saved_count * padded + j, padded),
                    states(states_flat, old + j, plane),
                    states(states_flat, new + j, plane),
                    plus_output(
                        states(carry, carry_at, carry_plane), dy_units(dy, dy_at + j, hidden - j)
                    ),
                    extra(extras, t, rows[r], j, hidden),
                )
                put_gates(dx_flat, gate_at + j, padded, dx)
                if apart:
                    put_gates(dh_flat, gate_at + j, padded, dh)
                if two_phase:
                    put_carried(carried, r * carried_count * padded + j, padded, dh)
                put_states(carry, carry_at, carry_plane, dstate)
                put_weights(dweights_flat, at * weight_count * padded + j, padded, by_weights)

    return run


@cache
def gate_backward_pass(cell, dtype):
    """Of a two-phase cell: from `dgated`, which lies as carry does, to the early gates'
    gradients; adds to those by the states."""
    lanes, function = lanes_of(dtype), _compiled(gate_backward_of(cell))
    add_states, extra = add(cell.states), gather_extras(cell.extras, lanes)
    states, saves, put_states = gather(cell.states), gather(cell.saved), scatter(cell.states)
    put_gates, get_carried = scatter(cell.gates - cell.late), gather(cell.carried)
    saved_count, gate_count, carried_count = cell.saved, cell.gates, cell.carried

    @inlined
    def run(
        begin, end, count, rows, t, before, hidden, extras, history, tape, dxg, dgated, carry,
        carry_offsets, carry_plane, carried,
    ):  # fmt: skip
        slots, batch, padded = history.shape[1:]
        plane = slots * batch * padded
        states_flat, tape_flat, dx_flat = flattened(history), flattened(tape), flattened(dxg)
        for r in range(count):
            at, old = t * batch + rows[r], (before * batch + rows[r]) * padded
            for j in range(begin, end, lanes):
                carry_at = carry_offsets[r] + j
                da, dstate = function(
                    saves(tape_flat, at * saved_count * padded + j, padded),
                    states(states_flat, old + j, plane),
                    get_carried(carried, r * carried_count * padded + j, padded),
                    load(dgated, carry_at),
                    extra(extras, t, rows[r], j, hidden),
                )
                put_gates(dx_flat, at * gate_count * padded + j, padded, da)
                so_far = states(carry, carry_at, carry_plane)
                put_states(carry, carry_at, carry_plane, add_states(so_far, dstate))

    return run
