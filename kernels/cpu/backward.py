"""The time loop backward, of the sequences that one thread has, for any cell.

Besides the layouts of `forward`:
- dxg, dhg (T, B, G, H'): the gradients by the gates' input and recurrent products; one array
  where the cell does not tell them apart.
- carry (S, rows, width): the gradients by the states, from step to step.
"""

from functools import cache

import numpy as np

from ..specialise import specialise, text_of_cell
from .compiling import inlined, kernel
from .forward import BLOCK_ROWS
from .functions import REPLACEMENTS
from .product import multiply_panels
from .simd import lanes_of, load, load_part
from .tuples import add, gather, scatter


def _add_output_gradient(lanes):
    """A function that adds dy to the first of a tuple of gradients by the states."""

    @inlined
    def added(gradients, dy, dy_at, j, hidden):
        if j + lanes <= hidden:
            return (gradients[0] + load(dy, dy_at + j),) + gradients[1:]
        return (gradients[0] + load_part(dy, dy_at + j, hidden - j),) + gradients[1:]

    return added


def _one_phase(cell, lanes):
    function = specialise(cell.backward, REPLACEMENTS, inlined)
    states, saves, put_states = gather(cell.states), gather(cell.saved), scatter(cell.states)
    put_gates, saved_count, gate_count = scatter(cell.gates), cell.saved, cell.gates
    output_gradient, apart = _add_output_gradient(lanes), cell.apart

    @inlined
    def step(
        count, t, before, after, rows, dy, dy_offset, dy_stride, wh, wq, hidden, history, tape,
        dxg, dhg, carry, carry_offsets, carry_plane, dgated, carried, offsets,
    ):  # fmt: skip
        slots, batch, padded = history.shape[1:]
        plane = slots * batch * padded
        states_flat, tape_flat = history.reshape(-1), tape.reshape(-1)
        dx_flat, dh_flat = dxg.reshape(-1), dhg.reshape(-1)
        for r in range(count):
            at = t * batch + rows[r]
            dy_at, carry_at = dy_offset + at * dy_stride, carry_offsets[r]
            old, new = (before * batch + rows[r]) * padded, (after * batch + rows[r]) * padded
            offsets[r] = at * gate_count * padded
            for j in range(0, padded, lanes):
                dx, dh, dstate = function(
                    saves(tape_flat, at * saved_count * padded + j, padded),
                    states(states_flat, old + j, plane),
                    states(states_flat, new + j, plane),
                    output_gradient(states(carry, carry_at + j, carry_plane), dy, dy_at, j, hidden),
                )
                put_gates(dx_flat, offsets[r] + j, padded, dx)
                if apart:
                    put_gates(dh_flat, offsets[r] + j, padded, dh)
                put_states(carry, carry_at + j, carry_plane, dstate)
        multiply_panels(
            dh_flat, offsets, count, np.intp(1), gate_count * padded, wh, carry, carry_offsets,
            wh.shape[0] * wh.shape[2], np.bool_(True),
        )  # fmt: skip

    return step


def _two_phase(cell, lanes):
    late_function = specialise(cell.backward, REPLACEMENTS, inlined)
    early_function = specialise(cell.gate_backward, REPLACEMENTS, inlined)
    states, saves, put_states = gather(cell.states), gather(cell.saved), scatter(cell.states)
    put_early, put_late = scatter(cell.gates - cell.late), scatter(cell.late)
    get_carried, put_carried = gather(cell.carried), scatter(cell.carried)
    saved_count, gate_count, early_count = cell.saved, cell.gates, cell.gates - cell.late
    late_count, carried_count = cell.late, cell.carried
    output_gradient, add_states = _add_output_gradient(lanes), add(cell.states)

    @inlined
    def step(
        count, t, before, after, rows, dy, dy_offset, dy_stride, wh, wq, hidden, history, tape,
        dxg, dhg, carry, carry_offsets, carry_plane, dgated, carried, offsets,
    ):  # fmt: skip
        slots, batch, padded = history.shape[1:]
        plane = slots * batch * padded
        states_flat, tape_flat, dx_flat = history.reshape(-1), tape.reshape(-1), dxg.reshape(-1)
        width = wh.shape[0] * wh.shape[2]
        for r in range(count):
            at = t * batch + rows[r]
            dy_at, carry_at = dy_offset + at * dy_stride, carry_offsets[r]
            old, new = (before * batch + rows[r]) * padded, (after * batch + rows[r]) * padded
            offsets[r] = (at * gate_count + early_count) * padded
            for j in range(0, padded, lanes):
                da, passed, dstate = late_function(
                    saves(tape_flat, at * saved_count * padded + j, padded),
                    states(states_flat, old + j, plane),
                    states(states_flat, new + j, plane),
                    output_gradient(states(carry, carry_at + j, carry_plane), dy, dy_at, j, hidden),
                )
                put_late(dx_flat, offsets[r] + j, padded, da)
                put_carried(carried, r * carried_count * padded + j, padded, passed)
                put_states(carry, carry_at + j, carry_plane, dstate)
        multiply_panels(
            dx_flat, offsets, count, np.intp(1), late_count * padded, wq, dgated, carry_offsets,
            width, np.bool_(False),
        )  # fmt: skip
        for r in range(count):
            at, carry_at = t * batch + rows[r], carry_offsets[r]
            old = (before * batch + rows[r]) * padded
            offsets[r] = at * gate_count * padded
            for j in range(0, padded, lanes):
                da, dstate = early_function(
                    saves(tape_flat, at * saved_count * padded + j, padded),
                    states(states_flat, old + j, plane),
                    get_carried(carried, r * carried_count * padded + j, padded),
                    load(dgated, carry_at + j),
                )
                put_early(dx_flat, offsets[r] + j, padded, da)
                so_far = states(carry, carry_at + j, carry_plane)
                put_states(carry, carry_at + j, carry_plane, add_states(so_far, dstate))
        multiply_panels(
            dx_flat, offsets, count, np.intp(1), early_count * padded, wh, carry, carry_offsets,
            width, np.bool_(True),
        )  # fmt: skip

    return step


@cache
def backward_rows(cell, dtype):
    """The kernel for this cell and dtype.

    Its arguments: dy, flat, in which row (t, b) begins at (t B + b) dy_stride + dy_offset; rows
    and counts as in forward; the packed weights wx, wh, wq of the way back; hidden size;
    history and tape; dxg and dhg, to be written; dstate (S, B, H): comes as the gradient by the
    final state, leaves as that by the initial one; dx (T, B, I), to be written, or added to if
    `resume`; whether time ran backwards.
    """
    lanes = lanes_of(dtype)
    step = (_two_phase if cell.late else _one_phase)(cell, lanes)
    carried_count = cell.carried

    @kernel(f"backward_rows {text_of_cell(cell)} {dtype}")
    def backward(
        dy, dy_offset, dy_stride, rows, counts, wx, wh, wq, hidden, history, tape, dxg, dhg, dstate,
        dx, resume, reverse,
    ):  # fmt: skip
        steps, batch, gate_count, padded = dxg.shape
        states, count, width = history.shape[0], rows.size, wh.shape[0] * wh.shape[2]
        carry_plane = count * width
        carry = np.zeros(states * carry_plane, dxg.dtype)
        carry_offsets = np.arange(count) * width
        for s in range(states):
            for r in range(count):
                for j in range(hidden):
                    carry[s * carry_plane + r * width + j] = dstate[s, rows[r], j]
        dgated = np.empty(carry_plane if carried_count else 0, dxg.dtype)
        carried = np.empty(count * carried_count * padded, dxg.dtype)
        offsets = np.empty(max(count, BLOCK_ROWS), np.intp)
        for s in range(steps - 1, -1, -1):
            t = steps - 1 - s if reverse else s
            before, after = (t + 1, t) if reverse else (t, t + 1)
            if counts[t]:
                step(
                    counts[t], t, before, after, rows, dy, dy_offset, dy_stride, wh, wq, hidden,
                    history, tape, dxg, dhg, carry, carry_offsets, carry_plane, dgated, carried,
                    offsets,
                )  # fmt: skip
        for s in range(states):
            for r in range(count):
                for j in range(hidden):
                    dstate[s, rows[r], j] = carry[s * carry_plane + r * width + j]

        inputs, depth = dx.shape[2], gate_count * padded
        dx_flat, dxg_flat = dx.reshape(-1), dxg.reshape(-1)
        dx_offsets, filled = np.empty(offsets.size, np.intp), np.intp(0)
        for t in range(steps):
            for r in range(counts[t]):
                at = t * batch + rows[r]
                offsets[filled], dx_offsets[filled] = at * depth, at * inputs
                filled += 1
                if filled == offsets.size:
                    multiply_panels(
                        dxg_flat, offsets, filled, np.intp(1), depth, wx, dx_flat, dx_offsets,
                        inputs, resume,
                    )  # fmt: skip
                    filled = np.intp(0)
        multiply_panels(
            dxg_flat, offsets, filled, np.intp(1), depth, wx, dx_flat, dx_offsets, inputs, resume
        )

    return backward
