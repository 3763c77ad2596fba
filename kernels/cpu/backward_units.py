"""The time loop backward of very few sequences: every thread has some of the hidden units.

As `forward_units`, with the weights' rows added up instead of multiplied out. For layouts see
`passes` and `backward_passes`.
"""

from functools import cache

import numpy as np

from ..specialise import text_of_cell
from .backward_passes import cell_backward_pass, gate_backward_pass
from .blocks import VECTORS
from .compiling import inlined
from .dots import add_scaled_rows
from .normalisation import HIDDEN, normalise_backward
from .product import multiply_fewest_rows
from .simd import lanes_of
from .team import admit, close, join, meet, members_of, team_kernel
from .views import flattened

# A step's meetings, in a two-phase cell's order; where rows are normalised, members meet twice.
_HANDED_OVER, _OF_LATE, _LATE_DONE, _OF_EARLY, _DONE = 1, 2, 4, 5, 7


@inlined
def _add_products(
    begin, end, hidden, first, last, a, offsets, count, pitch, w, panels, c, c_offsets
):  # fmt: skip
    """c[:, j] += sum over gates first .. last - 1 of a[:, gate] @ w[gate, :, j], begin <= j < end.

    If there are panels, they are those gates' weights, packed; c has room for whole ones.
    """
    if panels.size:
        across = panels.shape[2]
        multiply_fewest_rows(
            a[first * pitch :], offsets, count, np.intp(1), (last - first) * pitch, panels,
            begin // across, (end + across - 1) // across, c[begin:], c_offsets, np.bool_(True),
        )  # fmt: skip
        return
    width = min(end, hidden) - begin
    for gate in range(first, last):
        for r in range(count):
            add_scaled_rows(
                a, offsets[r] + gate * pitch, hidden, w, gate * hidden * hidden + begin, hidden,
                c, c_offsets[r] + begin, width,
            )  # fmt: skip


def _one_phase(cell, dtype):
    run_cell, gate_count = cell_backward_pass(cell, dtype), cell.gates
    back_to_products, apart = normalise_backward(cell, dtype, HIDDEN), cell.apart

    @inlined
    def step(
        board, member, members, meeting, begin, end, count, t, before, after, rows, dy, dy_offset,
        dy_stride, w, wh, wq, hidden, extras, norm, history, tape, dxg, dhg, dweights, carry,
        carry_offsets, carry_plane, dgated, carried, offsets,
    ):  # fmt: skip
        batch, padded = history.shape[2:]
        run_cell(
            begin, end, count, rows, t, before, after, dy, dy_offset, dy_stride, hidden, extras,
            history, tape, dxg, dhg, dweights, carry, carry_offsets, carry_plane, carried,
        )  # fmt: skip
        dh_flat = flattened(dhg)
        long = back_to_products(
            board, member, members, meeting + _OF_EARLY, dh_flat if apart else flattened(dxg),
            dh_flat, count, rows, t * batch, begin, end, hidden, padded, norm,
        )  # fmt: skip
        long = members > 1 and meet(board, member, members, meeting + _DONE) or long
        for r in range(count):
            offsets[r] = (t * batch + rows[r]) * gate_count * padded
        _add_products(
            begin, end, hidden, np.intp(0), gate_count, dh_flat, offsets, count, padded, w, wh,
            carry, carry_offsets,
        )  # fmt: skip
        return long

    return step


def _two_phase(cell, dtype):
    run_cell, run_gates = cell_backward_pass(cell, dtype), gate_backward_pass(cell, dtype)
    gate_count, early_count = cell.gates, cell.gates - cell.late
    early_to_products, late_to_products = (
        normalise_backward(cell, dtype, HIDDEN, phase) for phase in (0, 1)
    )

    @inlined
    def step(
        board, member, members, meeting, begin, end, count, t, before, after, rows, dy, dy_offset,
        dy_stride, w, wh, wq, hidden, extras, norm, history, tape, dxg, dhg, dweights, carry,
        carry_offsets, carry_plane, dgated, carried, offsets,
    ):  # fmt: skip
        batch, padded = history.shape[2:]
        dx_flat, dh_flat = flattened(dxg), flattened(dhg)
        for r in range(count):
            offsets[r] = (t * batch + rows[r]) * gate_count * padded
            dgated[carry_offsets[r] + begin : carry_offsets[r] + end] = 0
        run_cell(
            begin, end, count, rows, t, before, after, dy, dy_offset, dy_stride, hidden, extras,
            history, tape, dxg, dhg, dweights, carry, carry_offsets, carry_plane, carried,
        )  # fmt: skip
        long = late_to_products(
            board, member, members, meeting + _OF_LATE, dx_flat, dh_flat, count, rows, t * batch,
            begin, end, hidden, padded, norm,
        )  # fmt: skip
        long = members > 1 and meet(board, member, members, meeting + _LATE_DONE) or long
        _add_products(
            begin, end, hidden, early_count, gate_count, dh_flat, offsets, count, padded, w, wq,
            dgated, carry_offsets,
        )  # fmt: skip
        run_gates(
            begin, end, count, rows, t, before, hidden, extras, history, tape, dxg, dgated, carry,
            carry_offsets, carry_plane, carried,
        )  # fmt: skip
        waited = early_to_products(
            board, member, members, meeting + _OF_EARLY, dx_flat, dh_flat, count, rows, t * batch,
            begin, end, hidden, padded, norm,
        )  # fmt: skip
        long = members > 1 and meet(board, member, members, meeting + _DONE) or long or waited
        _add_products(
            begin, end, hidden, np.intp(0), early_count, dh_flat, offsets, count, padded, w, wh,
            carry, carry_offsets,
        )  # fmt: skip
        return long

    return step


def step_back(cell, dtype):
    """The step of `backward_units`, for kernels."""
    return (_two_phase if cell.late else _one_phase)(cell, dtype)


@cache
def backward_units(cell, dtype):
    """The kernel of a team (see `team`) for this cell and dtype.

    Its arguments: the crew and the team's board; dy, flat, in which row (t, b) begins
    at (t B + b) dy_stride + dy_offset; rows and counts as in forward; w (G H, H) as it lies; wh and
    wq, its early and late gates packed, or nothing if w is to be used; extras; `norm`, as in
    `backward`; history and tape; dxg, dhg and dweights, to be written; carry (S, B, H'') and dgated
    (B, H''), with H rounded up to whole panels, and carried, room for B sequences; dstate (S, B,
    H): comes as the gradient by the final state, leaves as that by the initial one; whether time
    ran backwards.
    """
    across = VECTORS * lanes_of(dtype)
    step = step_back(cell, dtype)

    @team_kernel(f"backward_units {text_of_cell(cell)} {dtype}")
    def backward(
        leads, crew, board, dy, dy_offset, dy_stride, rows, counts, w, wh, wq, extras, norm,
        history, tape, dxg, dhg, dweights, carry, dgated, carried, dstate, reverse,
    ):  # fmt: skip
        steps, batch, _, padded = dxg.shape
        (states, _, width), hidden = carry.shape, w.shape[1]
        if leads:
            for s in range(states):
                for r in range(batch):
                    for j in range(width):
                        carry[s, r, j] = dstate[s, rows[r], j] if j < hidden else 0
        carry_offsets, offsets = np.arange(batch) * width, np.empty(batch, np.intp)
        member, s0 = join(board, leads)
        if s0 < 0:
            return
        w_flat, carry_flat, dgated_flat = flattened(w), flattened(carry), flattened(dgated)
        members_before, disturbed = np.intp(1 if leads else 0), False
        groups = width // across
        for s in range(s0, steps):
            members, number = members_of(board, s), s * _DONE
            if members_before > 1 and members != members_before:
                # Units change hands: what the last step adds to their carry must be there.
                meet(board, member, members_before, number + _HANDED_OVER)
            if member >= members:
                return
            if leads:
                admit(crew, board, s, members_before, members, disturbed)
            members_before = members
            begin = groups * member // members * across
            end = min(groups * (member + 1) // members * across, padded)
            t = s if reverse else steps - 1 - s
            before, after = (t + 1, t) if reverse else (t, t + 1)
            long = step(
                board, member, members, number, begin, end, counts[t], t, before,
                after, rows, dy, dy_offset, dy_stride, w_flat, wh, wq, hidden, extras, norm,
                history, tape, dxg, dhg, dweights, carry_flat, carry_offsets, batch * width,
                dgated_flat, carried, offsets,
            )  # fmt: skip
            disturbed = disturbed or long
        if members_before > 1:
            meet(board, member, members_before, steps * _DONE + _HANDED_OVER)
        if leads:
            close(board, disturbed)
            for s in range(states):
                for r in range(batch):
                    for j in range(hidden):
                        dstate[s, rows[r], j] = carry[s, r, j]

    return backward
