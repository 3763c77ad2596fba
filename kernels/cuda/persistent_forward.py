"""All steps forward in one cooperative launch, for any one-phase cell.

Layouts as in `forward`, but the states' rows are padded with zeros to a multiple of 16 bytes:
history (S, slots, B, heads, pitch). Nothing else is exchanged between blocks, those of one head,
than the history's hidden states: a slot is written by one step and read by the next, with one
barrier in between. With two slots that is enough too: who writes a slot anew has waited for all
who read it.
"""

from functools import cache

import numpy as np

from ..signatures import forward_of
from ..specialise import specialise, text_of_cell
from .device import ELEMENTS, INTEGER, INTEGERS, cuda, floats, inlined, working
from .dropping import drop
from .extras import gather_extras, types_of_extras
from .functions import REPLACEMENTS
from .intrinsics import ACCESS_BYTES, block_z, pointer_to
from .launching import Kernel
from .persistent_block import COLUMNS, arrive, wait
from .persistent_phase import (
    add_sums,
    counter_of,
    load_biases,
    load_gates,
    own_head_of,
    own_of,
    own_sums,
    own_units,
    owns_of,
    phase_product,
)
from .persistent_tiles import Tiles
from .preparing import COUNTERS
from .tuples import add, gather, repeat, scatter, select


def forward_types(cell, dtype, layers=1):
    """The types of a forward kernel's arguments; which are float32 of 16 bits: see `forward`."""
    f, s, i = floats(dtype), floats(working(dtype)), INTEGER
    own = (i, f, f, f, f, types_of_extras(cell, dtype), s, f, s, f, s)
    return (i, INTEGERS, *(i,) * 8, owns_of(own, dtype, layers), *(i,) * 8, COUNTERS)


@cache
def finish_step(cell, stacked=False):
    """A function that writes what a pass has made of its units.

    (mine, inside, last, state, values, saved, out, history, new, plane, y, y_at, keep, tape,
    tape_at, hidden, counters, counter): a sequence that is not `inside` its steps keeps its state.
    """
    put_others, choose, saves = scatter(cell.states - 1), select(cell.states), scatter(cell.saved)

    @inlined
    def finish(
        mine, inside, last, state, values, saved, out, history, new, plane, y, y_at, keep, tape,
        tape_at, hidden, counters, counter,
    ):  # fmt: skip
        values = choose(inside, values, state)
        # First what others wait for, then, while they do not, what they never read.
        if mine:
            history[new] = values[0]
            if stacked and inside:
                y[y_at] = out
        if last:
            arrive(counters, counter)
        if mine:
            put_others(history, new + plane, plane, values[1:])
            if inside:
                if not stacked:
                    y[y_at] = out
                if keep:
                    saves(tape, tape_at, hidden, saved)

    return finish


@cache
def persistent_forward(cell, tile_rows, dtype, layers=1):
    """The kernel of a cell. The grid is (blocks of units, groups of sequences, directions × heads),
    or for more than one of its layers (..., ..., layers).

    hidden, width : units of a head and of all heads
    units, group_rows : hidden units and sequences of a block
    rows : sequences of one pass of the block, a multiple of `tile_rows`
    chunks, column_tiles, parts : of the product: of its depth, of its columns, of its chunks
    pitch, sums_pitch : numbers from one row to the next, of the states and of the products
    owns : what is of each direction (twice the same if there is only one) or layer

    A layer that is not the first makes the inputs' part of its gates itself, from the rows of y
    (T, B, pitch) that the layer below has written, which has been at the step before.
    """
    dtype, stacked = np.dtype(dtype), layers > 1
    tiles = Tiles(tile_rows, dtype)
    function = specialise(forward_of(cell), REPLACEMENTS, inlined)
    product, feed_product = phase_product(tiles, of_states=True), phase_product(tiles)
    row_words, column_words = tiles.row_words, tiles.column_words
    load, load_both_biases = load_gates(cell.gates, tiles), load_biases(cell.gates)
    own, own_head = own_of(max(layers, 2)), own_head_of(max(layers, 2))
    plus_sums = add_sums(cell.gates)
    gates, plus, states = gather(cell.gates), add(cell.gates), gather(cell.states)
    no_gates, no_states = repeat(cell.gates), repeat(cell.states)
    extra, no_extras = gather_extras(cell.extras), repeat(cell.extras)
    finish, output = finish_step(cell, stacked), cell.output
    gate_count, saved_count, element = cell.gates, cell.saved, ELEMENTS[dtype]

    def forward(
        steps, lengths, batch, hidden, width, pitch, slots, y_step, y_row, keep, owns, units,
        group_rows, rows, chunks, column_tiles, parts, sums_pitch, heads, counters,
    ):  # fmt: skip
        reverse, _, b_ih, b_hh, w_hh, _, _, _, _, _, _, stack = own(owns, heads)
        shared = pointer_to(cuda.shared.array(0, element, alignment=ACCESS_BYTES))
        nothing, counter, head = element(0), counter_of(cuda.blockIdx.z), own_head(heads)
        unit, row, first_unit, first_row, last_row, j = own_units(units, group_rows, batch)
        w_size = column_tiles * COLUMNS * chunks * column_words
        a = 2 * w_size if stacked else w_size
        sums = a + rows * chunks * row_words
        bias_x = sums + parts * rows * sums_pitch
        bias_h = bias_x + gate_count * units
        slot_size = batch * heads * pitch
        plane = slots * slot_size
        load(shared, 0, w_hh, head, hidden, heads, first_unit, units, chunks)
        load_both_biases(shared, b_ih, b_hh, bias_x, bias_h, head, hidden, heads, first_unit, units)
        if stacked:
            if block_z() > 0:
                load(shared, w_size, stack[0], head, hidden, heads, first_unit, units, chunks)
            if block_z() + 1 < layers:
                y_step, y_row = batch * pitch, pitch
        cuda.syncthreads()

        for step in range(steps):
            t = steps - 1 - step if reverse else step
            before, after = (t + 1, t) if reverse else (t, t + 1)
            old, new = before % slots * slot_size, after % slots * slot_size
            for b0 in range(first_row, last_row, rows):
                _, xg, _, _, _, extras, history, _, _, _, _, stack = own(owns, heads)
                b, head = b0 + row, own_head(heads)
                mine = row < rows and b < last_row and j < hidden
                at, of_all = (b * heads + head) * pitch + j, head * hidden + j
                x, state, end = no_gates(nothing), no_states(nothing), 0
                h, more = x, no_extras(nothing)
                if mine:  # fetched before the wait, to arrive during it
                    x = gates(shared, bias_x + unit, units)
                    if not stacked or block_z() == 0:
                        xg_at = (t * batch + b) * gate_count * width + of_all
                        x = plus(x, gates(xg, xg_at, width))
                    state, end = states(history, old + at, plane), lengths[b]
                    more = extra(extras, t, b, of_all)
                if stacked:
                    if block_z() > 0:
                        if b0 == first_row:
                            feeding = counter_of(cuda.blockIdx.z - 1)
                            wait(counters, feeding, (step + 1) * cuda.gridDim.x)
                        feed_product(
                            stack[1], (t * batch + b0) * pitch, min(rows, last_row - b0), pitch,
                            pitch, shared, w_size, a, sums, rows, chunks, column_tiles, parts,
                            sums_pitch,
                        )  # fmt: skip
                        if mine:
                            sums_at = own_sums(sums, row, unit, sums_pitch)
                            x = plus_sums(x, shared, sums_at, parts, rows * sums_pitch, units)
                if step and b0 == first_row:
                    wait(counters, counter, step * cuda.gridDim.x)
                count, start = min(rows, last_row - b0), old + (b0 * heads + head) * pitch
                product(
                    history, start, count, heads * pitch, pitch, shared, 0, a, sums, rows, chunks,
                    column_tiles, parts, sums_pitch,
                )  # fmt: skip
                if mine:
                    h = gates(shared, bias_h + unit, units)
                    sums_at = own_sums(sums, row, unit, sums_pitch)
                    h = plus_sums(h, shared, sums_at, parts, rows * sums_pitch, units)
                values, saved = function(x, h, state, (), more)
                _, _, _, _, _, _, history, y, tape, _, _, stack = own(owns, heads)
                head, out = own_head(heads), values[output]
                if stacked:
                    _, _, seed, threshold, scale = stack
                    if threshold:
                        k = np.uint64((t * batch + b) * hidden + j)
                        out = drop(out, seed, k, threshold, scale)
                y_at = t * y_step + b * y_row + head * hidden + j
                tape_at = ((t * batch + b) * heads + head) * saved_count * hidden + j
                finish(
                    mine, t < end, b0 + rows >= last_row and (stacked or step + 1 < steps), state,
                    values, saved, out, history, new + (b * heads + head) * pitch + j, plane, y,
                    y_at, keep, tape, tape_at, hidden, counters, counter,
                )  # fmt: skip

    identity = f"persistent_forward {text_of_cell(cell)} {layers} {tile_rows} {dtype}"
    return Kernel(identity, forward, forward_types(cell, dtype, layers))
