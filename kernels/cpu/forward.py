"""The time loop forward, of the sequences that one thread has, for any cell.

Each step's products are made a few panels at a time, and the cell's functions run on them while
they are in the first-level cache. For layouts see `passes`.
"""

from functools import cache
from math import gcd

import numpy as np

from ..specialise import text_of_cell
from .blocks import VECTORS
from .compiling import inlined, kernel
from .passes import cell_pass, gate_pass
from .product import multiply_whole_panels
from .simd import lanes_of

BLOCK_ROWS = 64  # rows of a block of a product: its results stay in the cache till used


def vectors_together(gates):
    """The least number of vectors of hidden units whose `gates` gates fill whole panels."""
    return VECTORS // gcd(VECTORS, gates)


@cache
def _fused_product(gates, lanes):
    """A function that makes the products that a pass over the units begin .. needs."""
    together = vectors_together(gates)
    panels_together = gates * together // VECTORS

    @inlined
    def multiply(begin, a, a_offsets, count, depth, panels, tile, tile_offsets):
        panel = begin // (together * lanes) * panels_together
        multiply_whole_panels(
            a, a_offsets, count, np.intp(1), depth, panels, panel,
            min(panel + panels_together, panels.shape[0]), tile, tile_offsets, np.bool_(False),
        )  # fmt: skip

    return multiply, together * lanes


def _one_phase(cell, dtype):
    run_cell = cell_pass(cell, dtype)
    multiply, width = _fused_product(cell.gates, lanes_of(dtype))

    @inlined
    def step(
        count, t, before, after, rows, xg, x_first, x_stride, wh, wq, tile, tile_offsets, offsets,
        hidden, history, y, y_offset, y_stride, tape, gated, kept, keep,
    ):  # fmt: skip
        batch, padded = history.shape[2:]
        states_flat = history.reshape(-1)
        for r in range(count):
            offsets[r] = (before * batch + rows[r]) * padded
        for begin in range(0, padded, width):
            multiply(begin, states_flat, offsets, count, hidden, wh, tile, tile_offsets)
            run_cell(
                begin, min(begin + width, padded), count, rows, t, before, after, xg, x_first,
                x_stride, tile, tile_offsets, hidden, history, y, y_offset, y_stride, tape, kept,
                keep,
            )  # fmt: skip

    return step


def _two_phase(cell, dtype):
    """The late gates' product waits for the early gates of all units."""
    run_gates, run_cell = gate_pass(cell, dtype), cell_pass(cell, dtype)
    multiply_early, early_width = _fused_product(cell.gates - cell.late, lanes_of(dtype))
    multiply_late, late_width = _fused_product(cell.late, lanes_of(dtype))

    @inlined
    def step(
        count, t, before, after, rows, xg, x_first, x_stride, wh, wq, tile, tile_offsets, offsets,
        hidden, history, y, y_offset, y_stride, tape, gated, kept, keep,
    ):  # fmt: skip
        batch, padded = history.shape[2:]
        states_flat, gated_flat = history.reshape(-1), gated.reshape(-1)
        gated_row = t * batch if keep else 0
        for r in range(count):
            offsets[r] = (before * batch + rows[r]) * padded
        for begin in range(0, padded, early_width):
            multiply_early(begin, states_flat, offsets, count, hidden, wh, tile, tile_offsets)
            run_gates(
                begin, min(begin + early_width, padded), count, rows, before, xg, x_first,
                x_stride, tile, tile_offsets, history, gated, gated_row, kept,
            )  # fmt: skip
        for r in range(count):
            offsets[r] = (gated_row + rows[r]) * padded
        for begin in range(0, padded, late_width):
            multiply_late(begin, gated_flat, offsets, count, hidden, wq, tile, tile_offsets)
            run_cell(
                begin, min(begin + late_width, padded), count, rows, t, before, after, xg, x_first,
                x_stride, tile, tile_offsets, hidden, history, y, y_offset, y_stride, tape, kept,
                keep,
            )  # fmt: skip

    return step


@cache
def forward_rows(cell, dtype):
    """The kernel for this cell and dtype.

    Its arguments: x (T, B, I); `rows`, the sequences of this call by falling length; `counts`
    (T,), how many of them reach step t; the packed weights wx, wh and (two-phase) wq; hidden
    size; history; y, flat, in which row (t, b) begins at (t B + b) y_stride + y_offset; tape
    and gated; whether to keep them; whether time runs backwards.
    """
    step = (_two_phase if cell.late else _one_phase)(cell, dtype)
    kept_count = cell.kept
    tile_width = lanes_of(dtype) * max(
        gates * vectors_together(gates) for gates in (cell.gates - cell.late, cell.late or 1)
    )

    @kernel(f"forward_rows {text_of_cell(cell)} {dtype}")
    def forward(
        x, rows, counts, wx, wh, wq, hidden, history, y, y_offset, y_stride, tape, gated, keep,
        reverse,
    ):  # fmt: skip
        steps, batch, width = x.shape
        slots, padded = history.shape[1], history.shape[3]
        x_flat, count = x.reshape(-1), rows.size
        block = max(1, BLOCK_ROWS // count)
        x_stride = wx.shape[0] * wx.shape[2]
        xg = np.empty(block * count * x_stride, x.dtype)
        x_offsets = np.empty(block * count, np.intp)
        xg_offsets = np.arange(block * count) * x_stride
        tile = np.empty(count * tile_width, x.dtype)
        tile_offsets = np.arange(count) * tile_width
        offsets = np.empty(count, np.intp)
        kept = np.empty(count * kept_count * padded, x.dtype)
        for first in range(0, steps, block):
            last = min(first + block, steps)
            filled = np.intp(0)
            for s in range(first, last):
                t = steps - 1 - s if reverse else s
                for r in range(counts[t]):
                    x_offsets[filled] = (t * batch + rows[r]) * width
                    filled += 1
            multiply_whole_panels(
                x_flat, x_offsets, filled, np.intp(1), width, wx, np.intp(0), wx.shape[0],
                xg, xg_offsets, np.bool_(False),
            )  # fmt: skip
            used = np.intp(0)
            for s in range(first, last):
                t = steps - 1 - s if reverse else s
                before, after = (t + 1, t) if reverse else (t, t + 1)
                step(
                    counts[t], t, before % slots, after % slots, rows, xg, used, x_stride, wh, wq,
                    tile, tile_offsets, offsets, hidden, history, y, y_offset, y_stride, tape,
                    gated, kept, keep,
                )  # fmt: skip
                used += counts[t]

    return forward
