"""The time loop forward of very few sequences: every thread has some of the hidden units.

With one sequence a step reads every weight once, and all that counts is how fast weights come
from the cache or the memory. So they are read as they lie, packing being no cheaper than the
product itself, unless they are frozen and packed already; and each core reads its own part of them
at every step. Layouts: see `passes`.
"""

from functools import cache

import numpy as np

from ..specialise import text_of_cell
from .blocks import VECTORS
from .compiling import inlined, part
from .forward import list_rows, vectors_apart
from .normalisation import HIDDEN, INPUTS, normalise
from .packing import pack_columns
from .passes import cell_pass, gate_pass
from .product import depth_of, multiply_fewest_rows, multiply_whole_panels
from .short_dots import dot_inputs, inputs_for
from .simd import REGISTER_BYTES, lanes_of, load_part, store
from .team import (
    admit,
    await_pieces,
    close,
    hand_in,
    join,
    meet,
    members_of,
    take_piece,
    team_kernel,
)
from .views import flattened


@cache
def multiply_rows(first, gates, lanes):
    """A function that multiplies rows of inputs with the weights of some units, as they lie.

    Of each unit there are `gates` gates, the first of them number `first` of the weights. Rows
    of reduced weights are to be multiplied by the numbers in `scale`. Every second time all goes
    `downwards`: what was used last, and is still in the nearest cache, is then used first.
    """

    @inlined
    def multiply(
        begin, end, hidden, w, scale, bias, panels, depth, x, offsets, count, out, out_offsets,
        downwards,
    ):  # fmt: skip
        inputs = inputs_for(w, x, offsets, count, depth)
        j, to_next = (end - lanes, -lanes) if downwards else (begin, lanes)
        for _ in range(begin, end, lanes):
            left = hidden - j
            for k in range(gates):
                g = gates - 1 - k if downwards else k
                row = (first + g) * hidden + j
                start = load_part(bias, row, left)
                for r in range(count):
                    product = dot_inputs(w, row, left, inputs, r, depth)
                    if scale.size:
                        product = product * load_part(scale, row, left)
                    place = out_offsets[r] + (j - begin) * gates + g * lanes
                    store(out, place, product + start)
            j += to_next

    return multiply


@inlined
def _panels_of_units(begin, end, gates, panels):
    """The first panel of these units' gates, and the one after the last."""
    across = panels.shape[2]
    return begin * gates // across, min((end * gates + across - 1) // across, panels.shape[0])


@cache
def multiply_packed(gates):
    """As `multiply_rows`, with weights and biases of so many gates packed in `panels`."""

    @inlined
    def multiply(
        begin, end, hidden, w, scale, bias, panels, depth, x, offsets, count, out, out_offsets,
        downwards,
    ):  # fmt: skip
        first, last = _panels_of_units(begin, end, gates, panels)
        multiply_fewest_rows(
            x, offsets, count, np.intp(1), depth, panels, first, last, out, out_offsets,
            np.bool_(False),
        )  # fmt: skip

    return multiply


def multiply_units(first, gates, lanes, packed):
    """`multiply_packed` or `multiply_rows`."""
    return multiply_packed(gates) if packed else multiply_rows(first, gates, lanes)


# A step's meetings, in a two-phase cell's order; where rows are normalised, members meet twice.
_OF_INPUTS, _OF_EARLY, _GATED, _OF_LATE, _DONE = 1, 3, 5, 6, 8


def _products(cell, dtype, packed, first_gate, gates, phase):
    """A function that makes `hg` of some gates, those of the units from `begin` to `end`, and where
    they begin in it: `own`.

    They are products with `seen`, of which a sequence's row is number seen_row + rows[r]. Returns
    whether members of a team waited long for each other.
    """
    multiply = multiply_units(first_gate, gates, lanes_of(dtype), packed)
    normalise_products = normalise(cell, dtype, HIDDEN, phase)

    @inlined
    def make(
        board, member, members, meeting, begin, end, count, t, first, rows, seen, seen_row, batch,
        hidden, padded, w, scale, bias, panels, hg, hg_offsets, own, offsets, norms, keep,
    ):  # fmt: skip
        for r in range(count):
            offsets[r] = (seen_row + rows[r]) * padded
            own[r] = hg_offsets[r] + begin * gates
        depth = depth_of(first, seen, offsets, count, hidden)
        multiply(
            begin, end, hidden, w, scale, bias, panels, depth, seen, offsets, count, hg, own,
            t % 2 == 1,
        )  # fmt: skip
        return normalise_products(
            board, member, members, meeting, hg, hg_offsets, count, rows, t * batch, begin, end,
            hidden, padded, norms, keep,
        )  # fmt: skip

    return make


def one_phase(cell, dtype, packed):
    make_products = _products(cell, dtype, packed, 0, cell.gates, 0)
    run_cell = cell_pass(cell, dtype)

    @inlined
    def step(
        board, member, members, meeting, begin, end, count, t, first, before, after, rows, xg,
        x_start, x_stride, w, scale, bias, wh, wq, hg, hg_offsets, own, offsets, hidden, extras,
        norms, history, y, y_offset, y_stride, tape, gated, kept, keep,
    ):  # fmt: skip
        batch, padded = history.shape[2:]
        long = make_products(
            board, member, members, meeting + _OF_EARLY, begin, end, count, t, first, rows,
            flattened(history), before * batch, batch, hidden, padded, w, scale, bias, wh, hg,
            hg_offsets, own, offsets, norms, keep,
        )  # fmt: skip
        run_cell(
            begin, end, count, rows, t, before, after, xg, x_start, x_stride, hg, own, hidden,
            extras, history, y, y_offset, y_stride, tape, kept, keep,
        )  # fmt: skip
        return long

    return step


def two_phase(cell, dtype, packed):
    early_count = cell.gates - cell.late
    make_early = _products(cell, dtype, packed, 0, early_count, 0)
    make_late = _products(cell, dtype, packed, early_count, cell.late, 1)
    run_gates, run_cell = gate_pass(cell, dtype), cell_pass(cell, dtype)

    @inlined
    def step(
        board, member, members, meeting, begin, end, count, t, first, before, after, rows, xg,
        x_start, x_stride, w, scale, bias, wh, wq, hg, hg_offsets, own, offsets, hidden, extras,
        norms, history, y, y_offset, y_stride, tape, gated, kept, keep,
    ):  # fmt: skip
        batch, padded = history.shape[2:]
        gated_row = t * batch if keep else 0
        long = make_early(
            board, member, members, meeting + _OF_EARLY, begin, end, count, t, first, rows,
            flattened(history), before * batch, batch, hidden, padded, w, scale, bias, wh, hg,
            hg_offsets, own, offsets, norms, keep,
        )  # fmt: skip
        run_gates(
            begin, end, count, rows, t, before, xg, x_start, x_stride, hg, own, hidden, extras,
            history, gated, gated_row, kept,
        )  # fmt: skip
        long = members > 1 and meet(board, member, members, meeting + _GATED) or long
        waited = make_late(
            board, member, members, meeting + _OF_LATE, begin, end, count, t, first, rows,
            flattened(gated), gated_row, batch, hidden, padded, w, scale, bias, wq, hg, hg_offsets,
            own, offsets, norms, keep,
        )  # fmt: skip
        run_cell(
            begin, end, count, rows, t, before, after, xg, x_start, x_stride, hg, own, hidden,
            extras, history, y, y_offset, y_stride, tape, kept, keep,
        )  # fmt: skip
        return long or waited

    return step


@inlined
def _slots_of_ends(rows, counts, steps, slots, reverse, ends):
    """For each sequence the slot of the state before all its steps, and after them."""
    for r in range(rows.size):
        length = 0
        while length < steps and counts[length] > r:
            length += 1
        ends[0, r], ends[1, r] = (length % slots, 0) if reverse else (0, length % slots)


@part
def _multiply_first_inputs(
    leads, crew, board, x, rows, counts, wx, w, starts, bias, numbers, panels, xg, reverse
):
    """The products of the first block of steps' inputs, panel by panel, by all who have come."""
    steps, batch, width = x.shape
    block, pitch = xg.shape
    row_numbers, offsets = np.empty(block, np.intp), np.empty(block, np.intp)
    across = VECTORS * (REGISTER_BYTES // x.itemsize)
    packed = wx.size > 0
    own = wx if packed else np.empty((1, width + 1, across), x.dtype)
    xg_offsets = np.arange(block) * pitch
    listed = list_rows(
        0, block // batch, steps, reverse, rows, counts, batch, width, row_numbers, offsets
    )
    while True:
        p = take_piece(crew, board, leads, panels)
        if p < 0:
            return
        begin, end = p * across, (p + 1) * across
        if not packed:  # used while it is in the cache
            pack_columns(w, starts[begin:end], bias, numbers[begin:end], own)
        first = p if packed else np.intp(0)
        multiply_whole_panels(
            flattened(x), offsets, listed, np.intp(1), width, own, first, first + 1,
            flattened(xg)[begin:], xg_offsets, np.bool_(False),
        )  # fmt: skip
        hand_in(board)


@cache
def forward_units(cell, dtype, packed=False):
    """The kernel of a team (see `team`) for this cell and dtype.

    Its arguments: the crew and the team's board; x (T, B, I); `rows`, the sequences by falling
    length; `counts` (T,), how many of them reach step t; weights as they lie, the scales of their
    rows (nothing for floats), and biases; wx, the packed weights of inputs, or nothing if they are
    to be used as they lie; wh and wq, those of early and late gates, if they are `packed`; how many
    `panels` of products with inputs to make before the loop, none or all, of wx, or else of what
    `pack_columns` packs of w, starts, bias and numbers; state (S, B, H): comes as the initial
    state, leaves as the final one; extras; `norms`, see `normalisation`; history; xg, room for the
    products of a block of steps' inputs (steps B, G H' rounded up to panels), and hg, flat, for
    those of a step's states; y, flat, in which row (t, b) begins at (t B + b) y_stride + y_offset;
    tape, gated; kept, room for B sequences; whether to keep the former; whether time runs
    backwards.
    """
    lanes, gate_count, together = lanes_of(dtype), cell.gates, vectors_apart(cell)
    step = (two_phase if cell.late else one_phase)(cell, dtype, packed)
    multiply_inputs = multiply_rows(0, cell.gates, lanes)
    normalise_inputs = normalise(cell, dtype, INPUTS)
    normalised = cell.normalised

    @team_kernel(f"forward_units {text_of_cell(cell)} {dtype} {packed}")
    def forward(
        leads, crew, board, x, rows, counts, w_ih, w_hh, scale_ih, scale_hh, b_ih, b_hh, wx, wh, wq,
        panels, w, starts, bias, numbers, state, extras, norms, history, xg, hg, y, y_offset,
        y_stride, tape, gated, kept, keep, reverse,
    ):  # fmt: skip
        steps, batch, width = x.shape
        states, slots, _, padded = history.shape
        hidden, x_stride, block = state.shape[2], xg.shape[1], xg.shape[0] // batch
        ends = np.empty((2, batch), np.intp)
        x_numbers, x_offsets = np.empty(block * batch, np.intp), np.empty(block * batch, np.intp)
        own, offsets = np.empty(batch, np.intp), np.empty(batch, np.intp)
        xg_offsets, hg_offsets = np.arange(block * batch) * x_stride, np.arange(batch) * x_stride
        if panels:
            _multiply_first_inputs(
                leads, crew, board, x, rows, counts, wx, w, starts, bias, numbers, panels, xg,
                reverse,
            )  # fmt: skip
        if leads:
            await_pieces(board, panels)
            if normalised and panels:
                listed = list_rows(
                    0, block, steps, reverse, rows, counts, batch, width, x_numbers, x_offsets
                )
                normalise_inputs(
                    board, 0, 1, 0, flattened(xg), xg_offsets, listed, x_numbers, 0, 0, padded,
                    hidden, padded, norms, keep,
                )  # fmt: skip
            _slots_of_ends(rows, counts, steps, slots, reverse, ends)
            for s in range(states):
                for r in range(batch):
                    for j in range(padded):
                        number = state[s, rows[r], j] if j < hidden else 0
                        history[s, ends[0, r], rows[r], j] = number
        member, s0 = join(board, leads)
        if s0 < 0:
            return
        xg_flat, x_flat = flattened(xg), flattened(x)
        groups = (padded // lanes + together - 1) // together
        multiplied = block if panels else np.intp(0)
        members_before, used, disturbed = np.intp(1), np.intp(0), False
        for s in range(s0, steps):
            members = members_of(board, s)
            if member >= members:
                return
            if leads:
                admit(crew, board, s, members_before, members, disturbed)
                members_before = members
            group, next_group = groups * member // members, groups * (member + 1) // members
            begin, end = group * together * lanes, min(next_group * together * lanes, padded)
            first = s // block * block
            if s == first and s >= multiplied:
                used = list_rows(
                    s, min(s + block, steps), steps, reverse, rows, counts, batch, width, x_numbers,
                    x_offsets,
                )  # fmt: skip
                mine = xg_flat[begin * gate_count :]
                if wx.size:
                    first_panel, last_panel = _panels_of_units(begin, end, gate_count, wx)
                    multiply_whole_panels(
                        x_flat, x_offsets, used, np.intp(1), width, wx, first_panel, last_panel,
                        mine, xg_offsets, np.bool_(False),
                    )  # fmt: skip
                else:
                    multiply_inputs(
                        begin, end, hidden, w_ih, scale_ih, b_ih, wx, width, x_flat, x_offsets,
                        used, mine, xg_offsets, False,
                    )  # fmt: skip
                if normalised:
                    waited = normalise_inputs(
                        board, member, members, s * _DONE + _OF_INPUTS, flattened(xg), xg_offsets,
                        used, x_numbers, 0, begin, end, hidden, padded, norms, keep,
                    )  # fmt: skip
                    disturbed = disturbed or waited
                used = np.intp(0)
            elif s == s0:
                for k in range(first, s):
                    used += counts[steps - 1 - k if reverse else k]
            t = steps - 1 - s if reverse else s
            before, after = (t + 1, t) if reverse else (t, t + 1)
            x_start = used * x_stride + begin * gate_count
            long = step(
                board, member, members, s * _DONE, begin, end, counts[t], t, s == 0, before % slots,
                after % slots, rows, xg_flat, x_start, x_stride, w_hh, scale_hh, b_hh, wh, wq, hg,
                hg_offsets, own, offsets, hidden, extras, norms, history, y, y_offset, y_stride,
                tape, gated, kept, keep,
            )  # fmt: skip
            used += counts[t]
            if members > 1:
                long = meet(board, member, members, s * _DONE + _DONE) or long
            disturbed = disturbed or long
        if leads:
            close(board, disturbed)
            for s in range(states):
                for r in range(batch):
                    for j in range(hidden):
                        state[s, rows[r], j] = history[s, ends[1, r], rows[r], j]

    return forward
