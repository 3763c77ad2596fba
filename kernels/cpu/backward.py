"""The time loop backward, of the sequences that one thread has, for any cell.

For layouts see `passes` and `backward_passes`.
"""

from functools import cache

import numpy as np

from ..specialise import text_of_cell
from .backward_passes import cell_backward_pass, gate_backward_pass
from .compiling import inlined, kernel
from .normalisation import HIDDEN, normalise_backward
from .product import multiply_whole_panels
from .views import flattened


def _one_phase(cell, dtype):
    run_cell, gate_count = cell_backward_pass(cell, dtype), cell.gates
    back_to_products, apart = normalise_backward(cell, dtype, HIDDEN), cell.apart

    @inlined
    def step(
        count, t, before, after, rows, dy, dy_offset, dy_stride, wh, wq, hidden, extras, norm,
        history, tape, dxg, dhg, dweights, dseen, carry, carry_offsets, carry_plane, dgated,
        carried, offsets,
    ):  # fmt: skip
        batch, padded = history.shape[2:]
        run_cell(
            np.intp(0), padded, count, rows, t, before, after, dy, dy_offset, dy_stride, hidden,
            extras, history, tape, dxg, dhg, dweights, carry, carry_offsets, carry_plane, carried,
        )  # fmt: skip
        dh_flat = flattened(dhg)
        back_to_products(
            rows, 0, 1, 0, dh_flat if apart else flattened(dxg), dh_flat, count, rows, t * batch,
            0, padded, hidden, padded, norm,
        )  # fmt: skip
        for r in range(count):
            offsets[r] = (t * batch + rows[r]) * gate_count * padded
        multiply_whole_panels(
            dh_flat, offsets, count, np.intp(1), gate_count * padded, wh, np.intp(0),
            wh.shape[0], carry, carry_offsets, np.bool_(True),
        )  # fmt: skip

    return step


def _two_phase(cell, dtype):
    run_cell, run_gates = cell_backward_pass(cell, dtype), gate_backward_pass(cell, dtype)
    gate_count, early_count, late_count = cell.gates, cell.gates - cell.late, cell.late
    early_to_products, late_to_products = (
        normalise_backward(cell, dtype, HIDDEN, phase) for phase in (0, 1)
    )

    @inlined
    def step(
        count, t, before, after, rows, dy, dy_offset, dy_stride, wh, wq, hidden, extras, norm,
        history, tape, dxg, dhg, dweights, dseen, carry, carry_offsets, carry_plane, dgated,
        carried, offsets,
    ):  # fmt: skip
        batch, padded = history.shape[2:]
        dx_flat, dh_flat = flattened(dxg), flattened(dhg)
        run_cell(
            np.intp(0), padded, count, rows, t, before, after, dy, dy_offset, dy_stride, hidden,
            extras, history, tape, dxg, dhg, dweights, carry, carry_offsets, carry_plane, carried,
        )  # fmt: skip
        late_to_products(
            rows, 0, 1, 0, dx_flat, dh_flat, count, rows, t * batch, 0, padded, hidden, padded, norm
        )
        for r in range(count):
            offsets[r] = ((t * batch + rows[r]) * gate_count + early_count) * padded
        multiply_whole_panels(
            dh_flat, offsets, count, np.intp(1), late_count * padded, wq, np.intp(0), wq.shape[0],
            dgated, carry_offsets, np.bool_(False),
        )  # fmt: skip
        run_gates(
            np.intp(0), padded, count, rows, t, before, hidden, extras, history, tape, dxg, dgated,
            carry, carry_offsets, carry_plane, carried,
        )  # fmt: skip
        early_to_products(
            rows, 0, 1, 0, dx_flat, dh_flat, count, rows, t * batch, 0, padded, hidden, padded, norm
        )
        for r in range(count):
            offsets[r] = (t * batch + rows[r]) * gate_count * padded
        multiply_whole_panels(
            dh_flat, offsets, count, np.intp(1), early_count * padded, wh, np.intp(0), wh.shape[0],
            carry, carry_offsets, np.bool_(True),
        )  # fmt: skip

    return step


def _projected(cell, dtype):
    """The first of `carry` is the gradient by the projection but while the cell's function runs.

    That by what comes out of each step, in all, goes to `dseen`. By the hidden states themselves
    there is none: the cell gets the zeros that `carried` comes as.
    """
    run_cell, gate_count = cell_backward_pass(cell, dtype), cell.gates

    @inlined
    def step(
        count, t, before, after, rows, dy, dy_offset, dy_stride, wh, wq, hidden, extras, norm,
        history, tape, dxg, dhg, dweights, dseen, carry, carry_offsets, carry_plane, dgated,
        carried, offsets,
    ):  # fmt: skip
        (batch, outputs), padded = dseen.shape[1:], history.shape[3]
        dseen_flat = flattened(dseen)
        for r in range(count):
            at = t * batch + rows[r]
            offsets[r] = at * outputs
            for p in range(outputs):
                dseen_flat[offsets[r] + p] = (
                    carry[carry_offsets[r] + p] + dy[dy_offset + at * dy_stride + p]
                )
        multiply_whole_panels(
            dseen_flat, offsets, count, np.intp(1), outputs, wq, np.intp(0), wq.shape[0],
            carry, carry_offsets, np.bool_(False),
        )  # fmt: skip
        run_cell(
            np.intp(0), padded, count, rows, t, before, after, carried, np.intp(0), np.intp(0),
            hidden, extras, history, tape, dxg, dhg, dweights, carry, carry_offsets, carry_plane,
            carried,
        )  # fmt: skip
        for r in range(count):
            offsets[r] = (t * batch + rows[r]) * gate_count * padded
        multiply_whole_panels(
            flattened(dhg), offsets, count, np.intp(1), gate_count * padded, wh, np.intp(0),
            wh.shape[0], carry, carry_offsets, np.bool_(False),
        )  # fmt: skip

    return step


@cache
def backward_rows(cell, dtype, projected=False):
    """The kernel for this cell and dtype.

    Its arguments: dy, flat, in which row (t, b) begins at (t B + b) dy_stride + dy_offset; rows and
    counts as in forward; the packed weights wh, wq of the way back; hidden size; extras; `norm`, of
    the hidden states, see `normalisation`; history and tape; dxg, dhg, dweights and (`projected`)
    dseen (T, B, P), to be written; dstate (S, B, H): comes as the gradient by the final state,
    leaves as that by the initial one; whether time ran backwards.
    """
    make_step = _projected if projected else _two_phase if cell.late else _one_phase
    step = make_step(cell, dtype)
    carried_count = 1 if projected else cell.carried

    @kernel(f"backward_rows {projected} {text_of_cell(cell)} {dtype}")
    def backward(
        dy, dy_offset, dy_stride, rows, counts, wh, wq, hidden, extras, norm, history, tape,
        dxg, dhg, dweights, dseen, dstate, reverse,
    ):  # fmt: skip
        steps, _, _, padded = dxg.shape
        states, count = history.shape[0], rows.size
        width = max(wh.shape[0], wq.shape[0]) * wh.shape[2]
        carry_plane = count * width
        carry = np.zeros(states * carry_plane, dxg.dtype)
        carry_offsets = np.arange(count) * width
        for s in range(states):
            for r in range(count):
                for j in range(hidden):
                    carry[s * carry_plane + r * width + j] = dstate[s, rows[r], j]
        dgated = np.empty(carry_plane if carried_count else 0, dxg.dtype)
        carried = np.zeros(count * carried_count * padded, dxg.dtype)
        offsets = np.empty(count, np.intp)
        for s in range(steps - 1, -1, -1):
            t = steps - 1 - s if reverse else s
            before, after = (t + 1, t) if reverse else (t, t + 1)
            if counts[t]:
                step(
                    counts[t], t, before, after, rows, dy, dy_offset, dy_stride, wh, wq, hidden,
                    extras, norm, history, tape, dxg, dhg, dweights, dseen, carry, carry_offsets,
                    carry_plane, dgated, carried, offsets,
                )  # fmt: skip
        for s in range(states):
            for r in range(count):
                for j in range(hidden):
                    dstate[s, rows[r], j] = carry[s * carry_plane + r * width + j]

    return backward
