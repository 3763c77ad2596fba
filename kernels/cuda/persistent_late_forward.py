"""All steps forward in one cooperative launch, for any two-phase cell: two barriers a step.

As in `persistent_forward`; the late gates' weights stand in shared memory behind the early ones.
What the early gates make of the hidden states, gated (T or 1, B, heads, pitch), is exchanged
between blocks too. Each is written in one phase and read in the next, and written anew by blocks
that have waited for all who read it; kept (B heads, K, hidden) only passes from a thread to itself.
"""

from functools import cache

import numpy as np

from ..signatures import forward_of, gate_of
from ..specialise import specialise, text_of_cell
from .device import ELEMENTS, cuda, inlined
from .extras import gather_extras
from .functions import REPLACEMENTS
from .intrinsics import ACCESS_BYTES, pointer_to
from .launching import Kernel
from .persistent_block import COLUMNS, arrive, wait
from .persistent_forward import finish_step, forward_types
from .persistent_phase import (
    add_sums,
    counter_of,
    load_biases,
    load_gates,
    of_direction,
    own_head,
    own_sums,
    own_units,
    phase_product,
)
from .persistent_tiles import Tiles
from .tuples import add, gather, repeat, scatter


@cache
def persistent_late_forward(cell, tile_rows, dtype):
    """The kernel of a cell; grid and sizes as those of `persistent_forward`."""
    dtype, early_count, late_count = np.dtype(dtype), cell.gates - cell.late, cell.late
    tiles = Tiles(tile_rows, dtype)
    function = specialise(forward_of(cell), REPLACEMENTS, inlined)
    gate = specialise(gate_of(cell), REPLACEMENTS, inlined)
    early_product, late_product = phase_product(tiles, of_states=True), phase_product(tiles)
    row_words, column_words = tiles.row_words, tiles.column_words
    load, load_both_biases = load_gates(cell.gates, tiles), load_biases(cell.gates)
    states, no_states = gather(cell.states), repeat(cell.states)
    early, plus_early, no_early = gather(early_count), add(early_count), repeat(early_count)
    late, plus_late, no_late = gather(late_count), add(late_count), repeat(late_count)
    early_sums, late_sums = add_sums(early_count), add_sums(late_count)
    keeps, kept_values, no_kept = scatter(cell.kept), gather(cell.kept), repeat(cell.kept)
    extra, no_extras = gather_extras(cell.extras), repeat(cell.extras)
    finish, output = finish_step(cell), cell.output
    gate_count, kept_count, saved_count = cell.gates, cell.kept, cell.saved
    element = ELEMENTS[dtype]

    def forward(
        steps, lengths, batch, hidden, width, pitch, slots, y_step, y_row, keep, owns,
        units, group_rows, rows, chunks, column_tiles, parts, sums_pitch, heads, counters,
    ):  # fmt: skip
        reverse, _, b_ih, b_hh, w_hh, _, _, _, _, _, _, _ = of_direction(owns, heads)
        shared = pointer_to(cuda.shared.array(0, element, alignment=ACCESS_BYTES))
        nothing, counter, blocks = element(0), counter_of(cuda.blockIdx.z), cuda.gridDim.x
        unit, row, first_unit, first_row, last_row, j = own_units(units, group_rows, batch)
        early_units, tile_size = early_count * units, chunks * COLUMNS * column_words
        early_tiles, late_tiles = early_units // COLUMNS, late_count * units // COLUMNS
        w_late, a = early_tiles * tile_size, (early_tiles + late_tiles) * tile_size
        sums = a + rows * chunks * row_words
        bias_x = sums + parts * rows * sums_pitch
        bias_h = bias_x + gate_count * units
        sums_at, part_pitch = own_sums(sums, row, unit, sums_pitch), rows * sums_pitch
        slot_size = batch * heads * pitch
        plane = slots * slot_size
        head = own_head(heads)
        load(shared, 0, w_hh, head, hidden, heads, first_unit, units, chunks)
        load_both_biases(shared, b_ih, b_hh, bias_x, bias_h, head, hidden, heads, first_unit, units)
        cuda.syncthreads()

        for step in range(steps):
            t = steps - 1 - step if reverse else step
            before, after = (t + 1, t) if reverse else (t, t + 1)
            old, new = before % slots * slot_size, after % slots * slot_size
            gated_at = t * slot_size if keep else 0
            for b0 in range(first_row, last_row, rows):
                _, xg, _, _, _, extras, history, _, _, _, _, _ = of_direction(owns, heads)
                b, head = b0 + row, own_head(heads)
                mine = row < rows and b < last_row and j < hidden
                at, of_all = (b * heads + head) * pitch + j, head * hidden + j
                x, state, more = no_early(nothing), no_states(nothing), no_extras(nothing)
                if mine:  # fetched before the wait, to arrive during it
                    x = early(xg, (t * batch + b) * gate_count * width + of_all, width)
                    x = plus_early(x, early(shared, bias_x + unit, units))
                    state = states(history, old + at, plane)
                    more = extra(extras, t, b, of_all)
                if step and b0 == first_row:
                    wait(counters, counter, 2 * step * blocks)
                count, start = min(rows, last_row - b0), old + (b0 * heads + head) * pitch
                early_product(
                    history, start, count, heads * pitch, pitch, shared, 0, a, sums, rows, chunks,
                    early_tiles, parts, sums_pitch,
                )  # fmt: skip
                if mine:
                    h = early(shared, bias_h + unit, units)
                    h = early_sums(h, shared, sums_at, parts, part_pitch, units)
                    value, passed = gate(x, h, state, more)
                    _, _, _, _, _, _, _, _, _, gated, kept, _ = of_direction(owns, heads)
                    head_row = b * heads + own_head(heads)
                    gated[gated_at + head_row * pitch + j] = value
                    keeps(kept, head_row * kept_count * hidden + j, hidden, passed)
            arrive(counters, counter)

            for b0 in range(first_row, last_row, rows):
                _, xg, _, _, _, extras, history, _, _, gated, kept, _ = of_direction(owns, heads)
                b, head = b0 + row, own_head(heads)
                mine = row < rows and b < last_row and j < hidden
                at, of_all = (b * heads + head) * pitch + j, head * hidden + j
                x, state, more, end = no_late(nothing), no_states(nothing), no_extras(nothing), 0
                h, passed = x, no_kept(nothing)
                if mine:
                    x_at = ((t * batch + b) * gate_count + early_count) * width + of_all
                    x = late(xg, x_at, width)
                    x = plus_late(x, late(shared, bias_x + early_units + unit, units))
                    state, end = states(history, old + at, plane), lengths[b]
                    kept_at = (b * heads + head) * kept_count * hidden + j
                    passed = kept_values(kept, kept_at, hidden)
                    more = extra(extras, t, b, of_all)
                if b0 == first_row:
                    wait(counters, counter, (2 * step + 1) * blocks)
                count, start = min(rows, last_row - b0), gated_at + (b0 * heads + head) * pitch
                late_product(
                    gated, start, count, heads * pitch, pitch, shared, w_late, a, sums, rows,
                    chunks, late_tiles, parts, sums_pitch,
                )  # fmt: skip
                if mine:
                    h = late(shared, bias_h + early_units + unit, units)
                    h = late_sums(h, shared, sums_at, parts, part_pitch, units)
                values, saved = function(x, h, state, passed, more)
                _, _, _, _, _, _, history, y, tape, _, _, _ = of_direction(owns, heads)
                head = own_head(heads)
                y_at = t * y_step + b * y_row + head * hidden + j
                tape_at = ((t * batch + b) * heads + head) * saved_count * hidden + j
                finish(
                    mine, t < end, b0 + rows >= last_row and step + 1 < steps, state, values, saved,
                    values[output], history, new + (b * heads + head) * pitch + j, plane, y, y_at,
                    keep, tape, tape_at, hidden, counters, counter,
                )  # fmt: skip

    identity = f"persistent_late_forward {text_of_cell(cell)} 1 {tile_rows} {dtype}"
    return Kernel(identity, forward, forward_types(cell, dtype))
