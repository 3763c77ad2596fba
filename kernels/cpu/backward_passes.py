"""The cell's backward functions over some hidden units of some sequences.

Besides the layouts of `passes`:
- dxg, dhg (T, B, G, H'): the gradients by the gates' input and recurrent products; one array
  where the cell does not tell them apart.
- carry (S, rows, width): the gradients by the states, from step to step; row r of the first
  begins at carry_offsets[r], of the others `carry_plane` further each.
"""

from functools import cache

from ..specialise import specialise
from .compiling import inlined
from .functions import REPLACEMENTS
from .simd import lanes_of, load, load_part
from .tuples import add, gather, scatter


def _compiled(function):
    return specialise(function, REPLACEMENTS, inlined)


@cache
def _add_output_gradient(lanes):
    """A function that adds dy to the first of a tuple of gradients by the states."""

    @inlined
    def added(gradients, dy, dy_at, j, hidden):
        if j + lanes <= hidden:
            return (gradients[0] + load(dy, dy_at + j),) + gradients[1:]
        return (gradients[0] + load_part(dy, dy_at + j, hidden - j),) + gradients[1:]

    return added


@cache
def cell_backward_pass(cell, dtype):
    """From the gradients by the states after step t to those by its gates, and by the states
    before as far as they do not go through the recurrent product.

    Of a two-phase cell to those by its late gates; `carried` (rows, C, H') takes what the early
    gates need.
    """
    lanes, two_phase = lanes_of(dtype), bool(cell.late)
    function, output_gradient = _compiled(cell.backward), _add_output_gradient(lanes)
    states, saves, put_states = gather(cell.states), gather(cell.saved), scatter(cell.states)
    put_gates, put_carried = scatter(cell.late or cell.gates), scatter(cell.carried)
    saved_count, gate_count, apart = cell.saved, cell.gates, cell.apart
    early_count, carried_count = (cell.gates - cell.late if two_phase else 0), cell.carried

    @inlined
    def run(
        begin, end, count, rows, t, before, after, dy, dy_offset, dy_stride, hidden, history, tape,
        dxg, dhg, carry, carry_offsets, carry_plane, carried,
    ):  # fmt: skip
        slots, batch, padded = history.shape[1:]
        plane = slots * batch * padded
        states_flat, tape_flat = history.reshape(-1), tape.reshape(-1)
        dx_flat, dh_flat = dxg.reshape(-1), dhg.reshape(-1)
        for r in range(count):
            at = t * batch + rows[r]
            dy_at, gate_at = dy_offset + at * dy_stride, (at * gate_count + early_count) * padded
            old, new = (before * batch + rows[r]) * padded, (after * batch + rows[r]) * padded
            for j in range(begin, end, lanes):
                carry_at = carry_offsets[r] + j
                dx, dh, dstate = function(
                    saves(tape_flat, at * saved_count * padded + j, padded),
                    states(states_flat, old + j, plane),
                    states(states_flat, new + j, plane),
                    output_gradient(states(carry, carry_at, carry_plane), dy, dy_at, j, hidden),
                )
                put_gates(dx_flat, gate_at + j, padded, dx)
                if apart:
                    put_gates(dh_flat, gate_at + j, padded, dh)
                if two_phase:
                    put_carried(carried, r * carried_count * padded + j, padded, dh)
                put_states(carry, carry_at, carry_plane, dstate)

    return run


@cache
def gate_backward_pass(cell, dtype):
    """Of a two-phase cell: from `dgated`, which lies as carry does, to the early gates'
    gradients; adds to those by the states."""
    lanes, function, add_states = lanes_of(dtype), _compiled(cell.gate_backward), add(cell.states)
    states, saves, put_states = gather(cell.states), gather(cell.saved), scatter(cell.states)
    put_gates, get_carried = scatter(cell.gates - cell.late), gather(cell.carried)
    saved_count, gate_count, carried_count = cell.saved, cell.gates, cell.carried

    @inlined
    def run(
        begin, end, count, rows, t, before, history, tape, dxg, dgated, carry, carry_offsets,
        carry_plane, carried,
    ):  # fmt: skip
        slots, batch, padded = history.shape[1:]
        plane = slots * batch * padded
        states_flat, tape_flat, dx_flat = history.reshape(-1), tape.reshape(-1), dxg.reshape(-1)
        for r in range(count):
            at, old = t * batch + rows[r], (before * batch + rows[r]) * padded
            for j in range(begin, end, lanes):
                carry_at = carry_offsets[r] + j
                da, dstate = function(
                    saves(tape_flat, at * saved_count * padded + j, padded),
                    states(states_flat, old + j, plane),
                    get_carried(carried, r * carried_count * padded + j, padded),
                    load(dgated, carry_at),
                )
                put_gates(dx_flat, at * gate_count * padded + j, padded, da)
                so_far = states(carry, carry_at, carry_plane)
                put_states(carry, carry_at, carry_plane, add_states(so_far, dstate))

    return run
