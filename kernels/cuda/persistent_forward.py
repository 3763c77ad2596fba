"""All steps forward in one cooperative launch, for any one-phase cell.

Layouts as in `forward`, but the states' rows are padded with zeros to a multiple of 16 bytes:
history (S, slots, B, heads, pitch). Nothing else is exchanged between blocks, those of one head,
than the history's hidden states: a slot is written by one step and read by the next, with one
barrier in between. With two slots that is enough too: who writes a slot anew has waited for all
who read it.
"""

from functools import cache

import numpy as np
from numba import types

from ..signatures import forward_of
from ..specialise import specialise, text_of_cell
from .device import ELEMENTS, INTEGER, INTEGERS, cuda, floats, inlined, working
from .extras import gather_extras, types_of_extras
from .functions import REPLACEMENTS
from .intrinsics import ACCESS_BYTES, pointer_to
from .launching import Kernel
from .persistent_block import COLUMNS, arrive, wait
from .persistent_phase import (
    add_sums,
    load_gates,
    of_direction,
    own_counter,
    own_head,
    own_units,
    phase_product,
)
from .persistent_tiles import Tiles
from .preparing import COUNTERS
from .tuples import add, gather, repeat, scatter, select


def forward_types(cell, dtype):
    """The types of a forward kernel's arguments; which are float32 of 16 bits: see `forward`."""
    f, s, i = floats(dtype), floats(working(dtype)), INTEGER
    own = types.Tuple((i, f, f, f, f, types_of_extras(cell, dtype), s, f, s, f, s))
    return (i, INTEGERS, *(i,) * 8, own, own, *(i,) * 8, COUNTERS)


@cache
def finish_step(cell):
    """A function that writes what a pass has made of its units.

    (mine, inside, last, state, values, saved, history, new, plane, y, y_at, keep, tape, tape_at,
    hidden, counters, counter): a sequence that is not `inside` its steps keeps its state.
    """
    put_others, choose, saves = scatter(cell.states - 1), select(cell.states), scatter(cell.saved)
    output = cell.output

    @inlined
    def finish(
        mine, inside, last, state, values, saved, history, new, plane, y, y_at, keep, tape,
        tape_at, hidden, counters, counter,
    ):  # fmt: skip
        values = choose(inside, values, state)
        # First what others wait for, then, while they do not, what they never read.
        if mine:
            history[new] = values[0]
        if last:
            arrive(counters, counter)
        if mine:
            put_others(history, new + plane, plane, values[1:])
            if inside:
                y[y_at] = values[output]
                if keep:
                    saves(tape, tape_at, hidden, saved)

    return finish


@cache
def persistent_forward(cell, tile_rows, dtype):
    """The kernel of a cell. The grid is (blocks of units, groups of sequences, directions × heads).

    hidden, width : units of a head and of all heads
    units, group_rows : hidden units and sequences of a block
    rows : sequences of one pass of the block, a multiple of `tile_rows`
    chunks, column_tiles, parts : of the product: of its depth, of its columns, of its chunks
    pitch, sums_pitch : numbers from one row to the next, of the states and of the products
    first, second : what is of one direction, `second` like `first` if there is only one
    """
    dtype = np.dtype(dtype)
    tiles = Tiles(tile_rows, dtype)
    function, product = (
        specialise(forward_of(cell), REPLACEMENTS, inlined),
        phase_product(tiles, of_states=True),
    )
    row_words, column_words = tiles.row_words, tiles.column_words
    load, plus_sums = load_gates(cell.gates, tiles), add_sums(cell.gates)
    gates, plus, states = gather(cell.gates), add(cell.gates), gather(cell.states)
    no_gates, no_states = repeat(cell.gates), repeat(cell.states)
    extra, no_extras, finish = gather_extras(cell.extras), repeat(cell.extras), finish_step(cell)
    gate_count, saved_count, element = cell.gates, cell.saved, ELEMENTS[dtype]

    def forward(
        steps, lengths, batch, hidden, width, pitch, slots, y_step, y_row, keep, first, second,
        units, group_rows, rows, chunks, column_tiles, parts, sums_pitch, heads, counters,
    ):  # fmt: skip
        reverse, _, b_ih, b_hh, w_hh, _, _, _, _, _, _ = of_direction(first, second, heads)
        shared = pointer_to(cuda.shared.array(0, element, alignment=ACCESS_BYTES))
        nothing, counter = element(0), own_counter()
        unit, row, first_unit, first_row, last_row, j = own_units(units, group_rows, batch)
        a = column_tiles * COLUMNS * chunks * column_words
        sums = a + rows * chunks * row_words
        bias_x = sums + parts * rows * sums_pitch
        bias_h = bias_x + gate_count * units
        slot_size = batch * heads * pitch
        plane = slots * slot_size
        load(shared, w_hh, b_ih, b_hh, bias_x, bias_h, hidden, heads, first_unit, units, chunks)
        cuda.syncthreads()

        for step in range(steps):
            t = steps - 1 - step if reverse else step
            before, after = (t + 1, t) if reverse else (t, t + 1)
            old, new = before % slots * slot_size, after % slots * slot_size
            for b0 in range(first_row, last_row, rows):
                _, xg, _, _, _, extras, history, _, _, _, _ = of_direction(first, second, heads)
                b, head = b0 + row, own_head(heads)
                mine = row < rows and b < last_row and j < hidden
                at, of_all = (b * heads + head) * pitch + j, head * hidden + j
                x, state, end = no_gates(nothing), no_states(nothing), 0
                h, more = x, no_extras(nothing)
                if mine:  # fetched before the wait, to arrive during it
                    x = gates(xg, (t * batch + b) * gate_count * width + of_all, width)
                    x = plus(x, gates(shared, bias_x + unit, units))
                    state, end = states(history, old + at, plane), lengths[b]
                    more = extra(extras, t, b, of_all)
                if step and b0 == first_row:
                    wait(counters, counter, step * cuda.gridDim.x)
                count, start = min(rows, last_row - b0), old + (b0 * heads + head) * pitch
                product(
                    history, start, count, heads * pitch, pitch, shared, 0, a, sums, rows, chunks,
                    column_tiles, parts, sums_pitch,
                )  # fmt: skip
                if mine:
                    h = gates(shared, bias_h + unit, units)
                    sums_at = sums + row * sums_pitch + unit
                    h = plus_sums(h, shared, sums_at, parts, rows * sums_pitch, units)
                values, saved = function(x, h, state, (), more)
                _, _, _, _, _, _, history, y, tape, _, _ = of_direction(first, second, heads)
                head = own_head(heads)
                y_at = t * y_step + b * y_row + head * hidden + j
                tape_at = ((t * batch + b) * heads + head) * saved_count * hidden + j
                finish(
                    mine, t < end, b0 + rows >= last_row and step + 1 < steps, state, values, saved,
                    history, new + (b * heads + head) * pitch + j, plane, y, y_at, keep, tape,
                    tape_at, hidden, counters, counter,
                )  # fmt: skip

    identity = f"persistent_forward {text_of_cell(cell)} {tile_rows} {dtype}"
    return Kernel(identity, forward, forward_types(cell, dtype))
