"""All steps backward in one cooperative launch, for any two-phase cell: two barriers a step.

As in `persistent_backward`. Blocks exchange the gates' gradients dg (T, B, heads, G, pitch): the
late ones of a step, whose product with the late weights gives the early ones, and those, whose
product with the early weights the step before waits for. carried (B heads, K, hidden) only passes
from a thread to itself.
"""

from functools import cache

import numpy as np

from ..signatures import backward_of, gate_backward_of
from ..specialise import specialise, text_of_cell
from .device import ELEMENTS, cuda, inlined
from .extras import gather_extras
from .functions import REPLACEMENTS
from .intrinsics import ACCESS_BYTES, pointer_to
from .launching import Kernel
from .persistent_backward import backward_types, read_step
from .persistent_block import COLUMNS, arrive, wait
from .persistent_phase import (
    add_sums,
    counter_of,
    load_units,
    of_direction,
    own_head,
    own_sums,
    own_units,
    phase_product,
)
from .persistent_tiles import Tiles
from .tuples import add, gather, repeat, scatter


@cache
def persistent_late_backward(cell, tile_rows, dtype):
    """The kernel of a cell; grid and sizes as those of `persistent_forward`."""
    dtype, early_count, late_count = np.dtype(dtype), cell.gates - cell.late, cell.late
    tiles = Tiles(tile_rows, dtype)
    function = specialise(backward_of(cell), REPLACEMENTS, inlined)
    gate = specialise(gate_backward_of(cell), REPLACEMENTS, inlined)
    load_early = load_units(0, early_count, tiles)
    load_late = load_units(early_count, late_count, tiles)
    product, plus_sums = phase_product(tiles), add_sums(1)
    chunk, row_words, column_words = tiles.chunk, tiles.row_words, tiles.column_words
    read, states, no_states = read_step(cell), gather(cell.states), repeat(cell.states)
    put_states = scatter(cell.states)
    saves, no_saves, plus = gather(cell.saved), repeat(cell.saved), add(cell.states)
    put_early, no_early = scatter(early_count), repeat(early_count)
    put_late, no_late = scatter(late_count), repeat(late_count)
    carries, no_carries, put_carries = (
        gather(cell.carried), repeat(cell.carried), scatter(cell.carried),
    )  # fmt: skip
    extra, no_extras = gather_extras(cell.extras), repeat(cell.extras)
    gate_count, carried_count, saved_count = cell.gates, cell.carried, cell.saved
    element = ELEMENTS[dtype]

    def backward(
        steps, lengths, batch, hidden, width, pitch, dy_step, dy_row, owns, units,
        group_rows, rows, chunks, column_tiles, parts, sums_pitch, heads, counters,
    ):  # fmt: skip
        reverse, w_hh, _, _, _, _, _, _, _, _, _, _ = of_direction(owns, heads)
        shared = pointer_to(cuda.shared.array(0, element, alignment=ACCESS_BYTES))
        nothing, counter, blocks = element(0), counter_of(cuda.blockIdx.z), cuda.gridDim.x
        unit, row, first_unit, first_row, last_row, j = own_units(units, group_rows, batch)
        depth, early_depth, late_depth = gate_count * pitch, early_count * pitch, late_count * pitch
        early_chunks, late_chunks = (
            (early_depth + chunk - 1) // chunk,
            (late_depth + chunk - 1) // chunk,
        )
        column_chunks = column_tiles * COLUMNS * column_words
        w_late, a = early_chunks * column_chunks, (early_chunks + late_chunks) * column_chunks
        sums = a + rows * chunks * row_words
        sums_at, part_pitch = own_sums(sums, row, unit, sums_pitch), rows * sums_pitch
        slot_size, carry_plane = batch * heads * pitch, batch * width
        plane = (steps + 1) * slot_size
        of_head = own_head(heads) * gate_count * hidden * hidden
        load_early(shared, 0, w_hh, of_head, hidden, pitch, first_unit, units, early_chunks)
        load_late(shared, w_late, w_hh, of_head, hidden, pitch, first_unit, units, late_chunks)
        cuda.syncthreads()

        for step in range(steps + 1):
            t = step if reverse else steps - 1 - step
            later = t - 1 if reverse else t + 1
            before, after = (t + 1, t) if reverse else (t, t + 1)
            old, new = before * slot_size, after * slot_size
            for b0 in range(first_row, last_row, rows):
                _, _, extras, dy, history, tape, carry, dg, _, _, _, _ = of_direction(owns, heads)
                b, head = b0 + row, own_head(heads)
                mine = row < rows and b < last_row and j < hidden
                head_row, of_all = b * heads + head, head * hidden + j
                at, carry_at = head_row * pitch + j, head_row * hidden + j
                tape_at = (t * batch * heads + head_row) * saved_count * hidden + j
                end = lengths[b] if mine else 0
                # Fetched before the wait, to arrive during it.
                saved, state, following, dnew, more = read(
                    nothing, mine, step < steps, t < end, t, b, of_all, carry, carry_at,
                    carry_plane, tape, tape_at, hidden, history, old + at, new + at, plane, extras,
                    dy, t * dy_step + b * dy_row + of_all,
                )  # fmt: skip
                if step:
                    if b0 == first_row:
                        wait(counters, counter, 2 * step * blocks)
                    product(
                        dg, ((later * batch + b0) * heads + head) * depth,
                        min(rows, last_row - b0), heads * depth, early_depth, shared, 0, a, sums,
                        rows, early_chunks, column_tiles, parts, sums_pitch,
                    )  # fmt: skip
                    if mine:
                        (through,) = plus_sums(
                            (dnew[0],), shared, sums_at, parts, part_pitch, units
                        )
                        dnew = (through,) + dnew[1:]
                if not mine:
                    continue
                _, _, _, _, _, _, carry, dg, _, _, carried, _ = of_direction(owns, heads)
                head_row = b * heads + own_head(heads)
                carry_at = head_row * hidden + j
                late_at = (t * batch * heads + head_row) * depth + early_depth + j
                if step == steps or t >= end:
                    carry[carry_at] = dnew[0]
                    if step < steps:
                        put_late(dg, late_at, pitch, no_late(nothing))
                    continue
                da, passed, dstate, _ = function(saved, state, following, dnew, more)
                put_late(dg, late_at, pitch, da)
                put_carries(carried, head_row * carried_count * hidden + j, hidden, passed)
                put_states(carry, carry_at, carry_plane, dstate)
            if step == steps:
                break
            arrive(counters, counter)

            for b0 in range(first_row, last_row, rows):
                _, _, extras, _, history, tape, _, dg, _, _, carried, _ = of_direction(owns, heads)
                b, head = b0 + row, own_head(heads)
                mine = row < rows and b < last_row and j < hidden
                head_row, of_all = b * heads + head, head * hidden + j
                at = head_row * pitch + j
                tape_at = (t * batch * heads + head_row) * saved_count * hidden + j
                saved, state, more = no_saves(nothing), no_states(nothing), no_extras(nothing)
                passed, end = no_carries(nothing), 0
                if mine:
                    saved = saves(tape, tape_at, hidden)
                    state, end = states(history, old + at, plane), lengths[b]
                    passed = carries(carried, head_row * carried_count * hidden + j, hidden)
                    more = extra(extras, t, b, of_all)
                if b0 == first_row:
                    wait(counters, counter, (2 * step + 1) * blocks)
                product(
                    dg, ((t * batch + b0) * heads + head) * depth + early_depth,
                    min(rows, last_row - b0), heads * depth, late_depth, shared, w_late, a, sums,
                    rows, late_chunks, column_tiles, parts, sums_pitch,
                )  # fmt: skip
                if not mine:
                    continue
                _, _, _, _, _, _, carry, dg, _, _, _, _ = of_direction(owns, heads)
                head_row = b * heads + own_head(heads)
                carry_at = head_row * hidden + j
                early_at = (t * batch * heads + head_row) * depth + j
                if t >= end:
                    put_early(dg, early_at, pitch, no_early(nothing))
                    continue
                (dgated,) = plus_sums((nothing,), shared, sums_at, parts, part_pitch, units)
                da, dstate = gate(saved, state, passed, dgated, more)
                put_early(dg, early_at, pitch, da)
                dstate = plus(states(carry, carry_at, carry_plane), dstate)
                put_states(carry, carry_at, carry_plane, dstate)
            arrive(counters, counter)

    identity = f"persistent_late_backward {text_of_cell(cell)} 1 {tile_rows} {dtype}"
    return Kernel(identity, backward, backward_types(cell, dtype))
