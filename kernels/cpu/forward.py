"""The time loop forward, of the sequences that one thread has, for any cell.

Each step's products are made a few panels at a time, and the cell's functions run on them while
they are in the first-level cache. For layouts see `passes`.
"""

from functools import cache
from math import gcd, lcm

import numpy as np

from ..specialise import text_of_cell
from .blocks import VECTORS
from .compiling import inlined, kernel
from .normalisation import HIDDEN, INPUTS, normalise
from .passes import cell_pass, gate_pass
from .product import depth_of, multiply_panels, multiply_whole_panels
from .simd import lanes_of
from .views import flattened

BLOCK_ROWS = 64  # rows of a block of a product: its results stay in the cache till used
MOST_BLOCK_ROWS = 512
PASS_VECTORS = 16  # of a sequence's products that a pass works on: with all rows, within the cache


def input_block_rows(inputs):
    """How many rows of inputs to multiply at once; their products wait for the time loop.

    With as many as a row has numbers the products are as large as the weights. For fewer rows
    large weights would be read so often that they drive the recurrent ones from the cache.
    """
    return max(BLOCK_ROWS, min(inputs, MOST_BLOCK_ROWS))


_input_block_rows = inlined(input_block_rows)


def vectors_apart(cell):
    """The least number of vectors of units whose gates, early and late, fill whole panels."""
    counts = (cell.gates, cell.gates - cell.late, cell.late or cell.gates)
    return lcm(*(VECTORS // gcd(VECTORS, count) for count in counts))


@cache
def _pass_width(cell, dtype):
    """A function padded -> how many hidden units a pass of a cell has; they fill whole panels.

    Of a normalised cell one pass has all of them: normalising waits for all products of a row.
    """
    vectors = vectors_apart(cell)
    least = vectors * lanes_of(dtype)
    if cell.normalised:
        return inlined(lambda padded: (padded + least - 1) // least * least)
    width = least * max(1, PASS_VECTORS // (cell.gates * vectors))
    return inlined(lambda padded: width)


@cache
def _pass_product(gates, lanes):
    """A function that makes the products with `gates` gates that the pass from `begin` on needs."""
    across = VECTORS * lanes

    @inlined
    def multiply(begin, width, a, a_offsets, count, depth, panels, tile, tile_offsets):
        panel, panels_together = begin * gates // across, width * gates // across
        multiply_whole_panels(
            a, a_offsets, count, np.intp(1), depth, panels, panel,
            min(panel + panels_together, panels.shape[0]), tile, tile_offsets, np.bool_(False),
        )  # fmt: skip

    return multiply


def _one_phase(cell, dtype):
    run_cell, normalise_products = cell_pass(cell, dtype), normalise(cell, dtype, HIDDEN)
    multiply, pass_width = _pass_product(cell.gates, lanes_of(dtype)), _pass_width(cell, dtype)
    gate_count = cell.gates

    @inlined
    def step(
        count, t, first, before, after, rows, xg, x_first, x_rows, wh, wq, tile, tile_offsets,
        offsets, hidden, outputs, extras, norms, history, y, y_offset, y_stride, tape, gated, kept,
        keep,
    ):  # fmt: skip
        batch, padded = history.shape[2:]
        states_flat = flattened(history)
        for r in range(count):
            offsets[r] = (before * batch + rows[r]) * padded
        depth = depth_of(first, states_flat, offsets, count, hidden)
        width = pass_width(padded)
        x_width = gate_count * width
        for begin in range(0, padded, width):
            multiply(begin, width, states_flat, offsets, count, depth, wh, tile, tile_offsets)
            normalise_products(
                rows, 0, 1, 0, tile, tile_offsets, count, rows, t * batch, 0, padded, hidden,
                padded, norms, keep,
            )  # fmt: skip
            run_cell(
                begin, min(begin + width, padded), count, rows, t, before, after, xg,
                x_first * x_width + begin * x_rows * gate_count, x_width, tile, tile_offsets,
                hidden, extras, history, y, y_offset, y_stride, tape, kept, keep,
            )  # fmt: skip

    return step


def _two_phase(cell, dtype):
    """The late gates' product waits for the early gates of all units."""
    run_gates, run_cell = gate_pass(cell, dtype), cell_pass(cell, dtype)
    normalise_early, normalise_late = (normalise(cell, dtype, HIDDEN, phase) for phase in (0, 1))
    multiply_early = _pass_product(cell.gates - cell.late, lanes_of(dtype))
    multiply_late, pass_width = _pass_product(cell.late, lanes_of(dtype)), _pass_width(cell, dtype)
    gate_count = cell.gates

    @inlined
    def step(
        count, t, first, before, after, rows, xg, x_first, x_rows, wh, wq, tile, tile_offsets,
        offsets, hidden, outputs, extras, norms, history, y, y_offset, y_stride, tape, gated, kept,
        keep,
    ):  # fmt: skip
        batch, padded = history.shape[2:]
        states_flat, gated_flat = flattened(history), flattened(gated)
        gated_row = t * batch if keep else 0
        width = pass_width(padded)
        x_width = gate_count * width
        for r in range(count):
            offsets[r] = (before * batch + rows[r]) * padded
        depth = depth_of(first, states_flat, offsets, count, hidden)
        for begin in range(0, padded, width):
            multiply_early(begin, width, states_flat, offsets, count, depth, wh, tile, tile_offsets)
            normalise_early(
                rows, 0, 1, 0, tile, tile_offsets, count, rows, t * batch, 0, padded, hidden,
                padded, norms, keep,
            )  # fmt: skip
            run_gates(
                begin, min(begin + width, padded), count, rows, t, before, xg,
                x_first * x_width + begin * x_rows * gate_count, x_width, tile, tile_offsets,
                hidden, extras, history, gated, gated_row, kept,
            )  # fmt: skip
        for r in range(count):
            offsets[r] = (gated_row + rows[r]) * padded
        depth = depth_of(first, gated_flat, offsets, count, hidden)
        for begin in range(0, padded, width):
            multiply_late(begin, width, gated_flat, offsets, count, depth, wq, tile, tile_offsets)
            normalise_late(
                rows, 0, 1, 0, tile, tile_offsets, count, rows, t * batch, 0, padded, hidden,
                padded, norms, keep,
            )  # fmt: skip
            run_cell(
                begin, min(begin + width, padded), count, rows, t, before, after, xg,
                x_first * x_width + begin * x_rows * gate_count, x_width, tile, tile_offsets,
                hidden, extras, history, y, y_offset, y_stride, tape, kept, keep,
            )  # fmt: skip

    return step


def _projected(cell, dtype):
    """A projection of the hidden states, `gated`, meets the weights and is what comes out.

    It has the history's slots; wq makes it. The cell's own output goes to `kept`, where nobody
    reads it: the history has the hidden states.
    """
    run_cell, gate_count = cell_pass(cell, dtype), cell.gates
    multiply, pass_width = _pass_product(cell.gates, lanes_of(dtype)), _pass_width(cell, dtype)

    @inlined
    def step(
        count, t, first, before, after, rows, xg, x_first, x_rows, wh, wq, tile, tile_offsets,
        offsets, hidden, outputs, extras, norms, history, y, y_offset, y_stride, tape, gated, kept,
        keep,
    ):  # fmt: skip
        batch, padded = history.shape[2:]
        states_flat, seen_flat = flattened(history), flattened(gated)
        for r in range(count):
            offsets[r] = (before * batch + rows[r]) * padded
        depth = depth_of(first, seen_flat, offsets, count, outputs)
        width = pass_width(padded)
        x_width = gate_count * width
        for begin in range(0, padded, width):
            multiply(begin, width, seen_flat, offsets, count, depth, wh, tile, tile_offsets)
            run_cell(
                begin, min(begin + width, padded), count, rows, t, before, after, xg,
                x_first * x_width + begin * x_rows * gate_count, x_width, tile, tile_offsets,
                hidden, extras, history, kept, np.intp(0), np.intp(0), tape, kept, keep,
            )  # fmt: skip
        for r in range(count):
            offsets[r] = (after * batch + rows[r]) * padded
        multiply_panels(
            states_flat, offsets, count, np.intp(1), hidden, wq, seen_flat, offsets, outputs,
            np.bool_(False),
        )  # fmt: skip
        for r in range(count):
            y_at = y_offset + (t * batch + rows[r]) * y_stride
            for p in range(outputs):
                y[y_at + p] = seen_flat[offsets[r] + p]

    return step


@inlined
def list_rows(first, last, steps, reverse, rows, counts, batch, width, numbers, offsets):
    """List which rows (t, b) of x (T, B, I) the steps first .. last - 1 take; returns how many."""
    listed = np.intp(0)
    for s in range(first, last):
        t = steps - 1 - s if reverse else s
        for r in range(counts[t]):
            numbers[listed] = t * batch + rows[r]
            offsets[listed] = numbers[listed] * width
            listed += 1
    return listed


@cache
def forward_rows(cell, dtype, projected=False):
    """The kernel for this cell and dtype.

    Its arguments: x (T, B, I); `rows`, the sequences of this call by falling length; `counts` (T,),
    how many of them reach step t; the packed weights wx, wh and (two-phase or `projected`) wq;
    hidden size; how many numbers of a sequence come out; extras; `norms`, see `normalisation`;
    history; y, flat, in which row (t, b) begins at (t B + b) y_stride + y_offset; tape and gated;
    whether to keep them and what of `norms` is kept; whether time runs backwards.
    """
    make_step = _projected if projected else _two_phase if cell.late else _one_phase
    step = make_step(cell, dtype)
    kept_count, gate_count = 1 if projected else cell.kept, cell.gates
    multiply_inputs = _pass_product(cell.gates, lanes_of(dtype))
    normalise_inputs, pass_width = normalise(cell, dtype, INPUTS), _pass_width(cell, dtype)

    @kernel(f"forward_rows {projected} {text_of_cell(cell)} {dtype}")
    def forward(
        x, rows, counts, wx, wh, wq, hidden, outputs, extras, norms, history, y, y_offset, y_stride,
        tape, gated, keep, reverse,
    ):  # fmt: skip
        steps, batch, inputs = x.shape
        slots, padded = history.shape[1], history.shape[3]
        x_flat, count = flattened(x), rows.size
        block, width = min(steps, max(1, _input_block_rows(inputs) // count)), pass_width(padded)
        tile_width = gate_count * width
        # Of each pass the products with the inputs lie together, as those of its tile do.
        x_rows, passes = block * count, (padded + width - 1) // width
        xg = np.empty(passes * x_rows * tile_width, x.dtype)
        x_numbers, x_offsets = np.empty(x_rows, np.intp), np.empty(x_rows, np.intp)
        tile = np.empty(count * tile_width, x.dtype)
        tile_offsets = np.arange(x_rows) * tile_width
        offsets = np.empty(count, np.intp)
        kept = np.empty(count * kept_count * padded, x.dtype)
        for first in range(0, steps, block):
            last = min(first + block, steps)
            filled = list_rows(
                first, last, steps, reverse, rows, counts, batch, inputs, x_numbers, x_offsets
            )
            for begin in range(0, padded, width):
                multiply_inputs(
                    begin, width, x_flat, x_offsets, filled, inputs, wx,
                    xg[begin * x_rows * gate_count :], tile_offsets,
                )  # fmt: skip
            normalise_inputs(
                rows, 0, 1, 0, xg, tile_offsets, filled, x_numbers, 0, 0, padded, hidden, padded,
                norms, keep,
            )  # fmt: skip
            used = np.intp(0)
            for s in range(first, last):
                t = steps - 1 - s if reverse else s
                before, after = (t + 1, t) if reverse else (t, t + 1)
                step(
                    counts[t], t, s == 0, before % slots, after % slots, rows, xg, used, x_rows, wh,
                    wq, tile, tile_offsets, offsets, hidden, outputs, extras, norms, history, y,
                    y_offset, y_stride, tape, gated, kept, keep,
                )  # fmt: skip
                used += counts[t]

    return forward
