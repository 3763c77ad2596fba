"""One step forward, fused: recurrent product, biases, cell, new states; for any cell.

Layouts (all C-contiguous): xg (T, B, G, H) products with the input; history (S, slots, B, H)
states; tape (T, B heads, R, hidden) what the cell saves; gated (B, H) and kept (B heads, K, hidden)
of two-phase cells. Units lie head after head, `hidden` are those of one. The host passes pointers
to step t's part. A sequence that has ended keeps its states, so that the last slot holds
everybody's final state. For `norm` see `normalisation`, for `extras` `extras`.

Of 16 bits are the layer's own numbers and what large products take: xg, weights, biases, y,
gated. The history, the tape and `kept` are float32 then (see `device.working`).
"""

from functools import cache

import numpy as np

from ..signatures import forward_of, gate_of
from ..specialise import specialise, text_of_cell
from .device import INTEGER, INTEGERS, floats, inlined, working
from .extras import gather_extras, types_of_extras
from .functions import REPLACEMENTS
from .launching import Kernel
from .normalisation import recurrent_sums, type_of_norm
from .tiles import among_all, own_place
from .tuples import add, copy, gather, scatter


@cache
def forward_step(cell, dtype):
    """The kernel of a one-phase cell; `seen` (B, heads depth) meets the recurrent weights."""
    dtype = np.dtype(dtype)
    function, sums_of = (
        specialise(forward_of(cell), REPLACEMENTS, inlined),
        recurrent_sums(cell, cell.gates, dtype),
    )
    gates, plus, states = gather(cell.gates), add(cell.gates), gather(cell.states)
    put_states, keep_states, saves = scatter(cell.states), copy(cell.states), scatter(cell.saved)
    gate_count, saved_count, output = cell.gates, cell.saved, cell.output
    extra = gather_extras(cell.extras)

    def forward(
        t, lengths, batch, hidden, xg, b_ih, b_hh, w_hh, norm, extras, seen, depth, old, new, plane,
        y, y_stride, tape, keep,
    ):  # fmt: skip
        b, row, j = own_place()
        present = b < batch
        sums = sums_of(norm, seen, row, w_hh, hidden, depth, present)
        if not present or j >= hidden:
            return
        at, (unit, width) = row * hidden + j, among_all(j, hidden)
        if t >= lengths[b]:
            keep_states(old, at, new, at, plane)
            return
        x = plus(gates(xg, b * gate_count * width + unit, width), gates(b_ih, unit, width))
        values, saved = function(
            x,
            plus(sums, gates(b_hh, unit, width)),
            states(old, at, plane),
            (),
            extra(extras, t, b, unit),
        )
        put_states(new, at, plane, values)
        y[b * y_stride + unit] = values[output]
        if keep:
            saves(tape, row * saved_count * hidden + j, hidden, saved)

    f, s, i = floats(dtype), floats(working(dtype)), INTEGER
    more = type_of_norm(cell, dtype), types_of_extras(cell, dtype)
    types = (i, INTEGERS, i, i, f, f, f, f, *more, s, i, s, s, i, f, i, s, i)
    return Kernel(f"forward_step {text_of_cell(cell)} {dtype}", forward, types)


@cache
def gate_step(cell, dtype):
    """The kernel of a two-phase cell's first phase."""
    dtype, early_count = np.dtype(dtype), cell.gates - cell.late
    function, sums_of = (
        specialise(gate_of(cell), REPLACEMENTS, inlined),
        recurrent_sums(cell, early_count, dtype),
    )
    early, plus, states = gather(early_count), add(early_count), gather(cell.states)
    keeps, gate_count, kept_count = scatter(cell.kept), cell.gates, cell.kept
    extra = gather_extras(cell.extras)

    def gate(t, batch, hidden, xg, b_ih, b_hh, w_hh, norm, extras, old, plane, gated, kept):
        b, row, j = own_place()
        present = b < batch
        sums = sums_of(norm, old, row, w_hh, hidden, hidden, present)
        if not present or j >= hidden:
            return
        at, (unit, width) = row * hidden + j, among_all(j, hidden)
        x = plus(early(xg, b * gate_count * width + unit, width), early(b_ih, unit, width))
        value, passed = function(
            x,
            plus(sums, early(b_hh, unit, width)),
            states(old, at, plane),
            extra(extras, t, b, unit),
        )
        gated[at] = value
        keeps(kept, row * kept_count * hidden + j, hidden, passed)

    f, s, i = floats(dtype), floats(working(dtype)), INTEGER
    more = type_of_norm(cell, dtype), types_of_extras(cell, dtype)
    types = (i, i, i, f, f, f, f, *more, s, i, f, s)
    return Kernel(f"gate_step {text_of_cell(cell)} {dtype}", gate, types)


@cache
def late_step(cell, dtype):
    """The kernel of a two-phase cell's second phase; the weights and biases are the late gates'."""
    dtype = np.dtype(dtype)
    function, sums_of = (
        specialise(forward_of(cell), REPLACEMENTS, inlined),
        recurrent_sums(cell, cell.late, dtype),
    )
    late, plus, states = gather(cell.late), add(cell.late), gather(cell.states)
    put_states, keep_states, saves = scatter(cell.states), copy(cell.states), scatter(cell.saved)
    kept_values, gate_count, kept_count = gather(cell.kept), cell.gates, cell.kept
    early_count, saved_count, output = cell.gates - cell.late, cell.saved, cell.output
    extra = gather_extras(cell.extras)

    def forward(
        t, lengths, batch, hidden, xg, b_ih, b_hh, w_hh, norm, extras, gated, kept, old, new,
        plane, y, y_stride, tape, keep,
    ):  # fmt: skip
        b, row, j = own_place()
        present = b < batch
        sums = sums_of(norm, gated, row, w_hh, hidden, hidden, present)
        if not present or j >= hidden:
            return
        at, (unit, width) = row * hidden + j, among_all(j, hidden)
        if t >= lengths[b]:
            keep_states(old, at, new, at, plane)
            return
        x_at = (b * gate_count + early_count) * width + unit
        values, saved = function(
            plus(late(xg, x_at, width), late(b_ih, unit, width)),
            plus(sums, late(b_hh, unit, width)),
            states(old, at, plane),
            kept_values(kept, row * kept_count * hidden + j, hidden),
            extra(extras, t, b, unit),
        )
        put_states(new, at, plane, values)
        y[b * y_stride + unit] = values[output]
        if keep:
            saves(tape, row * saved_count * hidden + j, hidden, saved)

    f, s, i = floats(dtype), floats(working(dtype)), INTEGER
    more = type_of_norm(cell, dtype), types_of_extras(cell, dtype)
    types = (i, INTEGERS, i, i, f, f, f, f, *more, f, s, s, s, i, f, i, s, i)
    return Kernel(f"late_step {text_of_cell(cell)} {dtype}", forward, types)
