"""All steps backward in one cooperative launch, for any one-phase cell.

Layouts as in `backward`, but the rows of the history and of the gates' gradients are padded
with zeros to a multiple of 16 bytes: dxg, dhg (T, B, G, pitch). What blocks exchange are the
gradients dhg of the step before, whose product with the weights is this step's; so there is one
product more than steps, the last of which completes the gradient by the initial state.
"""

from functools import cache

import numpy as np

from ..signatures import backward_of
from ..specialise import specialise, text_of_cell
from .device import ELEMENTS, INTEGER, INTEGERS, cuda, floats, inlined
from .extras import gather_extras, types_of_extras
from .functions import REPLACEMENTS
from .intrinsics import ACCESS_BYTES, chunk_of, column_pitch, pointer_to
from .launching import Kernel
from .persistent_block import COLUMNS, THREADS, arrive, block_product, clear, fetch, place, wait
from .preparing import COUNTER_PITCH, COUNTERS
from .tuples import add_at, gather, repeat, scatter


@cache
def persistent_backward(cell, tile_rows, dtype):
    """The kernel of a cell; grid and sizes as those of `persistent_forward`."""
    dtype = np.dtype(dtype)
    function = specialise(backward_of(cell), REPLACEMENTS, inlined)
    multiply, fetch_rows = block_product(tile_rows, dtype), fetch(dtype)
    column_at, chunk, column_size = place(dtype), chunk_of(dtype), column_pitch(dtype)
    states, no_states, put_states = gather(cell.states), repeat(cell.states), scatter(cell.states)
    saves, no_saves = gather(cell.saved), repeat(cell.saved)
    put_gates, no_gates = scatter(cell.gates), repeat(cell.gates)
    gate_count, saved_count, element = cell.gates, cell.saved, ELEMENTS[dtype]
    apart, extra, no_extras = cell.apart, gather_extras(cell.extras), repeat(cell.extras)
    plus_output, weight_count = add_at(cell.output), len(cell.weights)
    put_weights = scatter(weight_count)

    def backward(
        steps, reverse, lengths, batch, hidden, pitch, w_hh, extras, dy, dy_step, dy_row, history,
        tape, carry, dxg, dhg, dweights, units, group_rows, rows, chunks, column_tiles, parts,
        sums_pitch, counters,
    ):  # fmt: skip
        shared = pointer_to(cuda.shared.array(0, element, alignment=ACCESS_BYTES))
        thread, nothing, depth = cuda.threadIdx.x, element(0), gate_count * pitch
        unit, row = thread % units, thread // units
        first_unit, first_row = cuda.blockIdx.x * units, cuda.blockIdx.y * group_rows
        last_row, j = min(first_row + group_rows, batch), first_unit + unit
        a = column_tiles * COLUMNS * chunks * column_size
        sums = a + rows * chunks * chunk
        slot_size, plane, carry_plane = batch * pitch, (steps + 1) * batch * pitch, batch * hidden
        counter = cuda.blockIdx.y * COUNTER_PITCH

        for column_tile in range(column_tiles):
            column = column_tile * COLUMNS + thread % COLUMNS
            u = first_unit + column
            for k in range(thread // COLUMNS, chunks * chunk, THREADS // COLUMNS):
                gate, source = k // pitch, k % pitch
                inside = column < units and u < hidden and source < hidden and gate < gate_count
                shared[column_at(column, k, chunks)] = (
                    w_hh[(gate * hidden + source) * hidden + u] if inside else nothing
                )
        clear(shared, a, rows * chunks * chunk)

        for step in range(steps + 1):
            t = step if reverse else steps - 1 - step
            later = t - 1 if reverse else t + 1
            before, after = (t + 1, t) if reverse else (t, t + 1)
            old, new = before * slot_size, after * slot_size
            for b0 in range(first_row, last_row, rows):
                b = b0 + row
                mine = row < rows and b < last_row and j < hidden
                at, carry_at = b * pitch + j, b * hidden + j
                gates_at = (t * batch + b) * depth + j
                saved, state = no_saves(nothing), no_states(nothing)
                following, dnew, more, end = state, state, no_extras(nothing), 0
                if mine:  # fetched before the wait, to arrive during it
                    dnew, end = states(carry, carry_at, carry_plane), lengths[b]
                    if step < steps:
                        saved = saves(tape, (t * batch + b) * saved_count * hidden + j, hidden)
                        state = states(history, old + at, plane)
                        following = states(history, new + at, plane)
                        more = extra(extras, t, b, j)
                        if t < end:
                            dnew = plus_output(dnew, dy[t * dy_step + b * dy_row + j])
                through = nothing
                if step:
                    if b0 == first_row:
                        wait(counters, counter, step * cuda.gridDim.x)
                    count = min(rows, last_row - b0)
                    start = (later * batch + b0) * depth
                    fetch_rows(dhg, start, count, depth, shared, a, rows, chunks)
                    cuda.syncthreads()
                    row_tiles = (count + tile_rows - 1) // tile_rows
                    multiply(
                        shared, a, sums, rows, chunks, row_tiles, column_tiles, parts, sums_pitch
                    )
                    cuda.syncthreads()
                    if mine:
                        for part in range(parts):
                            through += shared[sums + (part * rows + row) * sums_pitch + unit]
                if not mine:
                    continue
                if step == steps or t >= end:
                    carry[carry_at] = dnew[0] + through
                    if step < steps:
                        put_gates(dxg, gates_at, pitch, no_gates(nothing))
                        if apart:
                            put_gates(dhg, gates_at, pitch, no_gates(nothing))
                    continue
                dnew = (dnew[0] + through,) + dnew[1:]
                dx, dh, dstate, by_weights = function(saved, state, following, dnew, more)
                put_gates(dxg, gates_at, pitch, dx)
                if apart:
                    put_gates(dhg, gates_at, pitch, dh)
                put_states(carry, carry_at, carry_plane, dstate)
                weights_at = (t * batch + b) * weight_count * hidden + j
                put_weights(dweights, weights_at, hidden, by_weights)
            if step < steps:
                arrive(counters, counter)

    f, i = floats(dtype), INTEGER
    sizes = (i,) * 7
    more = types_of_extras(cell, dtype)
    types = (i, i, INTEGERS, i, i, i, f, more, f, i, i, f, f, f, f, f, f, *sizes, COUNTERS)
    return Kernel(f"persistent_backward {text_of_cell(cell)} {tile_rows} {dtype}", backward, types)
