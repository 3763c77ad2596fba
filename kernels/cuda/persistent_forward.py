"""All steps forward in one cooperative launch, for any one-phase cell.

Layouts as in `forward`, but the states' rows are padded with zeros to a multiple of 16 bytes:
history (S, slots, B, pitch). Nothing else is exchanged between blocks than the history's hidden
states: a slot is written by one step and read by the next, with one barrier in between. With
two slots that is enough too: who writes a slot anew has waited for all who read it.
"""

from functools import cache

import numpy as np

from ..signatures import forward_of
from ..specialise import specialise, text_of_cell
from .device import ELEMENTS, INTEGER, INTEGERS, cuda, floats, inlined
from .extras import gather_extras, types_of_extras
from .functions import REPLACEMENTS
from .intrinsics import ACCESS_BYTES, WARP, chunk_of, column_pitch, pointer_to
from .launching import Kernel
from .persistent_block import (
    COLUMNS,
    THREADS,
    WARPS,
    arrive,
    block_product,
    clear,
    fetch,
    place,
    wait,
)
from .preparing import COUNTER_PITCH, COUNTERS
from .tuples import add, gather, repeat, scatter, select


@cache
def persistent_forward(cell, tile_rows, dtype):
    """The kernel of a cell. The grid is (blocks of units, groups of sequences).

    units, group_rows : hidden units and sequences of a block
    rows : sequences of one pass of the block, a multiple of `tile_rows`
    chunks, column_tiles, parts : of the product: of its depth, of its columns, of its chunks
    pitch, sums_pitch : numbers from one row to the next, of the states and of the products
    """
    dtype = np.dtype(dtype)
    function = specialise(forward_of(cell), REPLACEMENTS, inlined)
    multiply, fetch_rows = block_product(tile_rows, dtype), fetch(dtype)
    column_at, chunk, column_size = place(dtype), chunk_of(dtype), column_pitch(dtype)
    gates, plus, states = gather(cell.gates), add(cell.gates), gather(cell.states)
    no_gates, no_states = repeat(cell.gates), repeat(cell.states)
    put_others, choose, saves = scatter(cell.states - 1), select(cell.states), scatter(cell.saved)
    extra, no_extras, output = gather_extras(cell.extras), repeat(cell.extras), cell.output
    gate_count, saved_count, element = cell.gates, cell.saved, ELEMENTS[dtype]

    def forward(
        steps, reverse, lengths, batch, hidden, pitch, xg, b_ih, b_hh, w_hh, extras, history,
        slots, y, y_step, y_row, tape, keep, units, group_rows, rows, chunks, column_tiles, parts,
        sums_pitch, counters,
    ):  # fmt: skip
        shared = pointer_to(cuda.shared.array(0, element, alignment=ACCESS_BYTES))
        thread, nothing = cuda.threadIdx.x, element(0)
        unit, row = thread % units, thread // units
        first_unit, first_row = cuda.blockIdx.x * units, cuda.blockIdx.y * group_rows
        last_row, j = min(first_row + group_rows, batch), first_unit + unit
        a = column_tiles * COLUMNS * chunks * column_size
        sums = a + rows * chunks * chunk
        bias_x = sums + parts * rows * sums_pitch
        bias_h = bias_x + gate_count * units
        slot_size, plane = batch * pitch, slots * batch * pitch
        counter = cuda.blockIdx.y * COUNTER_PITCH

        for column in range(thread // WARP, column_tiles * COLUMNS, WARPS):
            gate, u = column // units, first_unit + column % units
            inside = gate < gate_count and u < hidden
            for k in range(thread % WARP, chunks * chunk, WARP):
                shared[column_at(column, k, chunks)] = (
                    w_hh[(gate * hidden + u) * hidden + k] if inside and k < hidden else nothing
                )
        for i in range(thread, gate_count * units, THREADS):
            gate, u = i // units, first_unit + i % units
            if u < hidden:
                shared[bias_x + i] = b_ih[gate * hidden + u]
                shared[bias_h + i] = b_hh[gate * hidden + u]
        clear(shared, a, rows * chunks * chunk)

        for step in range(steps):
            t = steps - 1 - step if reverse else step
            before, after = (t + 1, t) if reverse else (t, t + 1)
            old, new = before % slots * slot_size, after % slots * slot_size
            for b0 in range(first_row, last_row, rows):
                b = b0 + row
                mine = row < rows and b < last_row and j < hidden
                at = b * pitch + j
                x, state, end = no_gates(nothing), no_states(nothing), 0
                more = no_extras(nothing)
                if mine:  # fetched before the wait, to arrive during it
                    x = gates(xg, (t * batch + b) * gate_count * hidden + j, hidden)
                    x = plus(x, gates(shared, bias_x + unit, units))
                    state, end = states(history, old + at, plane), lengths[b]
                    more = extra(extras, t, b, j)
                if step and b0 == first_row:
                    wait(counters, counter, step * cuda.gridDim.x)
                count = min(rows, last_row - b0)
                fetch_rows(history, old + b0 * pitch, count, pitch, shared, a, rows, chunks)
                cuda.syncthreads()
                row_tiles = (count + tile_rows - 1) // tile_rows
                multiply(shared, a, sums, rows, chunks, row_tiles, column_tiles, parts, sums_pitch)
                cuda.syncthreads()
                h = no_gates(nothing)
                if mine:
                    h = gates(shared, bias_h + unit, units)
                    for part in range(parts):
                        part_at = sums + (part * rows + row) * sums_pitch + unit
                        h = plus(h, gates(shared, part_at, units))
                values, saved = function(x, h, state, (), more)
                values = choose(t < end, values, state)
                # First what others wait for, then, while they do not, what they never read.
                if mine:
                    history[new + at] = values[0]
                if b0 + rows >= last_row and step + 1 < steps:
                    arrive(counters, counter)
                if mine:
                    put_others(history, new + at + plane, plane, values[1:])
                    if t < end:
                        y[t * y_step + b * y_row + j] = values[output]
                        if keep:
                            saves(tape, (t * batch + b) * saved_count * hidden + j, hidden, saved)

    f, i = floats(dtype), INTEGER
    sizes = (i,) * 7
    types_ = (
        i, i, INTEGERS, i, i, i, f, f, f, f, types_of_extras(cell, dtype), f, i, f, i, i, f, i,
        *sizes, COUNTERS,
    )  # fmt: skip
    return Kernel(f"persistent_forward {text_of_cell(cell)} {tile_rows} {dtype}", forward, types_)
