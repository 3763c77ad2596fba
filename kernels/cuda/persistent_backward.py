"""All steps backward in one cooperative launch, for any one-phase cell.

Layouts as in `backward`, but the rows of the history and of the gates' gradients are padded
with zeros to a multiple of 16 bytes: dxg, dhg (T, B, heads, G, pitch). What blocks exchange are the
gradients dhg of the step before, whose product with the weights is this step's; so there is one
product more than steps, the last of which completes the gradient by the initial state.
"""

from functools import cache

import numpy as np

from ..signatures import backward_of
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
    load_units,
    own_head_of,
    own_of,
    own_sums,
    own_units,
    owns_of,
    phase_product,
)
from .persistent_tiles import Tiles
from .preparing import COUNTERS
from .tuples import add_at, gather, repeat, scatter


def backward_types(cell, dtype, layers=1):
    """The types of a backward kernel's arguments; which are float32 of 16 bits: see `backward`."""
    f, s, i = floats(dtype), floats(working(dtype)), INTEGER
    own = (i, f, types_of_extras(cell, dtype), f, s, s, s, f, f, f, s)
    return (i, INTEGERS, *(i,) * 6, owns_of(own, dtype, layers), *(i,) * 8, COUNTERS)


@cache
def read_step(cell):
    """A function that reads what a step back needs of a unit, zeros where it is not `mine`.

    (nothing, mine, remains, inside, t, b, j, carry, carry_at, carry_plane, tape, tape_at, hidden,
    history, old, new, plane, extras, dy, dy_at) -> saved, state before and after, the gradient by
    that, extras. Unless a step `remains` there is only what earlier steps left in `carry`.
    """
    states, no_states = gather(cell.states), repeat(cell.states)
    saves, no_saves = gather(cell.saved), repeat(cell.saved)
    extra, no_extras = gather_extras(cell.extras), repeat(cell.extras)
    plus_output = add_at(cell.output)

    @inlined
    def read(
        nothing, mine, remains, inside, t, b, j, carry, carry_at, carry_plane, tape, tape_at,
        hidden, history, old, new, plane, extras, dy, dy_at,
    ):  # fmt: skip
        saved, state, more = no_saves(nothing), no_states(nothing), no_extras(nothing)
        following, dnew = state, state
        if mine:
            dnew = states(carry, carry_at, carry_plane)
            if remains:
                saved = saves(tape, tape_at, hidden)
                state, following = states(history, old, plane), states(history, new, plane)
                more = extra(extras, t, b, j)
                if inside:
                    dnew = plus_output(dnew, dy[dy_at])
        return saved, state, following, dnew, more

    return read


@cache
def persistent_backward(cell, tile_rows, dtype, layers=1):
    """The kernel of a cell; grid and sizes as those of `persistent_forward`, but of several layers
    the uppermost comes first.

    A layer that is not the first makes dy itself, from the gradients dxg that the layer above has
    written, which has been at the step before.
    """
    dtype, stacked = np.dtype(dtype), layers > 1
    own, own_head = own_of(max(layers, 2)), own_head_of(max(layers, 2))
    tiles = Tiles(tile_rows, dtype)
    function = specialise(backward_of(cell), REPLACEMENTS, inlined)
    load, product = load_units(0, cell.gates, tiles), phase_product(tiles)
    row_words, column_words, plus_sums = tiles.row_words, tiles.column_words, add_sums(1)
    read, put_states, plus_output = read_step(cell), scatter(cell.states), add_at(cell.output)
    put_gates, no_gates = scatter(cell.gates), repeat(cell.gates)
    gate_count, saved_count, element = cell.gates, cell.saved, ELEMENTS[dtype]
    apart, weight_count, put_weights = cell.apart, len(cell.weights), scatter(len(cell.weights))

    def backward(
        steps, lengths, batch, hidden, width, pitch, dy_step, dy_row, owns, units,
        group_rows, rows, chunks, column_tiles, parts, sums_pitch, heads, counters,
    ):  # fmt: skip
        reverse, w_hh, _, _, _, _, _, _, dhg, _, _, stack = own(owns, heads)
        shared = pointer_to(cuda.shared.array(0, element, alignment=ACCESS_BYTES))
        nothing, counter, depth = element(0), counter_of(cuda.blockIdx.z), gate_count * pitch
        unit, row, first_unit, first_row, last_row, j = own_units(units, group_rows, batch)
        w_size = column_tiles * COLUMNS * chunks * column_words
        a = 2 * w_size if stacked else w_size
        sums = a + rows * chunks * row_words
        sums_at, part_pitch = own_sums(sums, row, unit, sums_pitch), rows * sums_pitch
        slot_size, carry_plane = batch * heads * pitch, batch * width
        plane = (steps + 1) * slot_size
        of_head = own_head(heads) * gate_count * hidden * hidden
        load(shared, 0, w_hh, of_head, hidden, pitch, first_unit, units, chunks)
        if stacked:
            if block_z() > 0:
                load(shared, w_size, stack[0], 0, hidden, pitch, first_unit, units, chunks)
        cuda.syncthreads()

        for step in range(steps + 1):
            t = step if reverse else steps - 1 - step
            later = t - 1 if reverse else t + 1
            before, after = (t + 1, t) if reverse else (t, t + 1)
            old, new = before * slot_size, after * slot_size
            for b0 in range(first_row, last_row, rows):
                _, _, extras, dy, history, tape, carry, _, dhg, _, _, stack = own(owns, heads)
                b, head, count = b0 + row, own_head(heads), min(rows, last_row - b0)
                mine = row < rows and b < last_row and j < hidden
                head_row, of_all = b * heads + head, head * hidden + j
                at, carry_at = head_row * pitch + j, head_row * hidden + j
                tape_at = (t * batch * heads + head_row) * saved_count * hidden + j
                end = lengths[b] if mine else 0
                reads_dy = t < end and (not stacked or block_z() == 0)
                # Fetched before the wait, to arrive during it.
                saved, state, following, dnew, more = read(
                    nothing, mine, step < steps, reads_dy, t, b, of_all, carry, carry_at,
                    carry_plane, tape, tape_at, hidden, history, old + at, new + at, plane, extras,
                    dy, t * dy_step + b * dy_row + of_all,
                )  # fmt: skip
                if stacked:
                    if block_z() > 0 and step < steps:
                        if b0 == first_row:
                            feeding = counter_of(cuda.blockIdx.z - 1)
                            wait(counters, feeding, (step + 1) * cuda.gridDim.x)
                        product(
                            stack[1], (t * batch + b0) * depth, count, depth, depth, shared, w_size,
                            a, sums, rows, chunks, column_tiles, parts, sums_pitch,
                        )  # fmt: skip
                        if mine and t < end:
                            _, _, _, _, _, _, _, _, _, _, _, stack = own(owns, heads)
                            _, _, seed, threshold, scale = stack
                            (fed,) = plus_sums(
                                (nothing,), shared, sums_at, parts, part_pitch, units
                            )
                            if threshold:
                                k = np.uint64((t * batch + b) * hidden + j)
                                fed = drop(fed, seed, k, threshold, scale)
                            dnew = plus_output(dnew, fed)
                through = nothing
                if step:
                    if b0 == first_row:
                        wait(counters, counter, step * cuda.gridDim.x)
                    start = ((later * batch + b0) * heads + head) * depth
                    product(
                        dhg, start, count, heads * depth, depth, shared, 0, a, sums, rows, chunks,
                        column_tiles, parts, sums_pitch,
                    )  # fmt: skip
                    if mine:
                        (through,) = plus_sums(
                            (nothing,), shared, sums_at, parts, part_pitch, units
                        )
                if not mine:
                    continue
                _, _, _, _, _, _, carry, dxg, dhg, dweights, _, _ = own(owns, heads)
                head = own_head(heads)
                carry_at = (b * heads + head) * hidden + j
                gates_at = ((t * batch + b) * heads + head) * depth + j
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
                weights_at = (t * batch + b) * weight_count * width + head * hidden + j
                put_weights(dweights, weights_at, width, by_weights)
            if step < steps:
                arrive(counters, counter)

    identity = f"persistent_backward {text_of_cell(cell)} {layers} {tile_rows} {dtype}"
    return Kernel(identity, backward, backward_types(cell, dtype, layers))
