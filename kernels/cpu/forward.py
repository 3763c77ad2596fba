"""The time loop forward, of the sequences that one thread has, for any cell.

Layouts (all C-contiguous; H' is H rounded up to whole vectors, so that no inner loop has a tail):
- history (S, slots, B, H'): the states before and after each step. Slot t is the state before
  step t, t + 1 the one after, of a reverse direction the other way round. Training keeps all
  T + 1 slots; inference uses two in turn.
- tape (T, B, R, H'): what the cell saves for its backward function.
- gated (T, B, H'): of two-phase cells, what takes the hidden state's place in the late product.
"""

from functools import cache

import numpy as np

from ..specialise import specialise, text_of_cell
from .compiling import inlined, kernel
from .functions import REPLACEMENTS
from .product import multiply_panels
from .simd import lanes_of, store, store_part
from .tuples import gather, scatter

BLOCK_ROWS = 64  # rows of a block of the input product: its results stay in the cache till used


def _one_phase(cell, lanes):
    """One step: recurrent product, then the cell's function."""
    function = specialise(cell.forward, REPLACEMENTS, inlined)
    gates, states, saves = gather(cell.gates), gather(cell.states), scatter(cell.saved)
    put_states, saved_count = scatter(cell.states), cell.saved

    @inlined
    def step(
        count, t, before, after, rows, xg, x_first, x_stride, wh, wq, hg, hg_offsets, h_offsets,
        hidden, history, plane, y, y_offset, y_stride, tape, gated, kept, keep,
    ):  # fmt: skip
        batch, padded = history.shape[2], history.shape[3]
        states_flat, tape_flat = history.reshape(-1), tape.reshape(-1)
        for r in range(count):
            h_offsets[r] = (before * batch + rows[r]) * padded
        stride = wh.shape[0] * wh.shape[2]
        multiply_panels(
            states_flat, h_offsets, count, np.intp(1), hidden, wh, hg, hg_offsets, stride,
            np.bool_(False),
        )  # fmt: skip
        for r in range(count):
            x_at, h_at, old = (x_first + r) * x_stride, hg_offsets[r], h_offsets[r]
            new = (after * batch + rows[r]) * padded
            y_at = y_offset + (t * batch + rows[r]) * y_stride
            tape_at = (t * batch + rows[r]) * saved_count * padded
            for j in range(0, padded, lanes):
                values, saved = function(
                    gates(xg, x_at + j, padded),
                    gates(hg, h_at + j, padded),
                    states(states_flat, old + j, plane),
                )
                put_states(states_flat, new + j, plane, values)
                if j + lanes <= hidden:
                    store(y, y_at + j, values[0])
                else:
                    store_part(y, y_at + j, values[0], hidden - j)
                if keep:
                    saves(tape_flat, tape_at + j, padded, saved)

    return step


def _two_phase(cell, lanes):
    """One step of a cell whose late gates' product waits for the early gates."""
    gate = specialise(cell.gate, REPLACEMENTS, inlined)
    function = specialise(cell.forward, REPLACEMENTS, inlined)
    early, late = gather(cell.gates - cell.late), gather(cell.late)
    states, put_states, saves = gather(cell.states), scatter(cell.states), scatter(cell.saved)
    keeps, kept_values = scatter(cell.kept), gather(cell.kept)
    early_count, saved_count, kept_count = cell.gates - cell.late, cell.saved, cell.kept

    @inlined
    def step(
        count, t, before, after, rows, xg, x_first, x_stride, wh, wq, hg, hg_offsets, h_offsets,
        hidden, history, plane, y, y_offset, y_stride, tape, gated, kept, keep,
    ):  # fmt: skip
        batch, padded = history.shape[2], history.shape[3]
        states_flat, tape_flat = history.reshape(-1), tape.reshape(-1)
        gated_flat = gated.reshape(-1)
        gated_row = t * batch if keep else 0
        for r in range(count):
            h_offsets[r] = (before * batch + rows[r]) * padded
        stride = wh.shape[0] * wh.shape[2]
        multiply_panels(
            states_flat, h_offsets, count, np.intp(1), hidden, wh, hg, hg_offsets, stride,
            np.bool_(False),
        )  # fmt: skip
        for r in range(count):
            x_at, h_at, old = (x_first + r) * x_stride, hg_offsets[r], h_offsets[r]
            q_at = (gated_row + rows[r]) * padded
            for j in range(0, padded, lanes):
                q, carry = gate(
                    early(xg, x_at + j, padded),
                    early(hg, h_at + j, padded),
                    states(states_flat, old + j, plane),
                )
                store(gated_flat, q_at + j, q)
                keeps(kept, r * kept_count * padded + j, padded, carry)
        for r in range(count):
            h_offsets[r] = (gated_row + rows[r]) * padded
        stride = wq.shape[0] * wq.shape[2]
        multiply_panels(
            gated_flat, h_offsets, count, np.intp(1), hidden, wq, hg, hg_offsets, stride,
            np.bool_(False),
        )  # fmt: skip
        for r in range(count):
            x_at = (x_first + r) * x_stride + early_count * padded
            h_at, old = hg_offsets[r], (before * batch + rows[r]) * padded
            new = (after * batch + rows[r]) * padded
            y_at = y_offset + (t * batch + rows[r]) * y_stride
            tape_at = (t * batch + rows[r]) * saved_count * padded
            for j in range(0, padded, lanes):
                values, saved = function(
                    late(xg, x_at + j, padded),
                    late(hg, h_at + j, padded),
                    states(states_flat, old + j, plane),
                    kept_values(kept, r * kept_count * padded + j, padded),
                )
                put_states(states_flat, new + j, plane, values)
                if j + lanes <= hidden:
                    store(y, y_at + j, values[0])
                else:
                    store_part(y, y_at + j, values[0], hidden - j)
                if keep:
                    saves(tape_flat, tape_at + j, padded, saved)

    return step


@cache
def forward_rows(cell, dtype):
    """The kernel for this cell and dtype.

    Its arguments: x (T, B, I); `rows`, the sequences of this call by falling length; `counts`
    (T,), how many of them reach step t; the packed weights wx, wh and (two-phase) wq; hidden
    size; history; y, flat, in which row (t, b) begins at (t B + b) y_stride + y_offset; tape
    and gated; whether to keep them; whether time runs backwards.
    """
    lanes = lanes_of(dtype)
    step = (_two_phase if cell.late else _one_phase)(cell, lanes)
    kept_count = cell.kept

    @kernel(f"forward_rows {text_of_cell(cell)} {dtype}")
    def forward(
        x,
        rows,
        counts,
        wx,
        wh,
        wq,
        hidden,
        history,
        y,
        y_offset,
        y_stride,
        tape,
        gated,
        keep,
        reverse,
    ):
        steps, batch, width = x.shape
        slots, padded = history.shape[1], history.shape[3]
        plane = slots * batch * padded
        x_flat, count = x.reshape(-1), rows.size
        block = max(1, BLOCK_ROWS // count)
        x_stride = wx.shape[0] * wx.shape[2]
        xg = np.empty(block * count * x_stride, x.dtype)
        x_offsets = np.empty(block * count, np.intp)
        xg_offsets = np.arange(block * count) * x_stride
        h_stride = max(wh.shape[0] * wh.shape[2], wq.shape[0] * wq.shape[2])
        hg = np.empty(count * h_stride, x.dtype)
        hg_offsets = np.arange(count) * h_stride
        h_offsets = np.empty(count, np.intp)
        kept = np.empty(count * kept_count * padded, x.dtype)
        for first in range(0, steps, block):
            last = min(first + block, steps)
            filled = np.intp(0)
            for s in range(first, last):
                t = steps - 1 - s if reverse else s
                for r in range(counts[t]):
                    x_offsets[filled] = (t * batch + rows[r]) * width
                    filled += 1
            multiply_panels(
                x_flat, x_offsets, filled, np.intp(1), width, wx, xg, xg_offsets, x_stride,
                np.bool_(False),
            )  # fmt: skip
            used = np.intp(0)
            for s in range(first, last):
                t = steps - 1 - s if reverse else s
                before, after = (t + 1, t) if reverse else (t, t + 1)
                step(
                    counts[t], t, before % slots, after % slots, rows, xg, used, x_stride, wh, wq,
                    hg, hg_offsets, h_offsets, hidden, history, plane, y, y_offset, y_stride,
                    tape, gated, kept, keep,
                )  # fmt: skip
                used += counts[t]

    return forward
