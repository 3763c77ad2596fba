"""One step forward, fused: recurrent product, biases, cell, new states; for any cell.

Layouts (all C-contiguous): xg (T, B, G, H) products with the input; history (S, slots, B, H)
states; tape (T, B, R, H) what the cell saves; gated and kept (B, K, H) of two-phase cells. The
host passes pointers to step t's part. A sequence that has ended keeps its states, so that the
last slot holds everybody's final state. For `norm` see `normalisation`, for `extras` `extras`.

Of 16 bits are the layer's own numbers and what large products take: xg, weights, biases, y,
gated. The history, the tape and `kept` are float32 then (see `device.working`).
"""

from functools import cache

import numpy as np

from ..signatures import forward_of, gate_of
from ..specialise import specialise, text_of_cell
from .device import INTEGER, INTEGERS, cuda, floats, inlined, working
from .extras import gather_extras, types_of_extras
from .functions import REPLACEMENTS
from .launching import Kernel
from .normalisation import recurrent_sums, type_of_norm
from .tiles import COLUMNS, ROWS
from .tuples import add, copy, gather, scatter


@cache
def forward_step(cell, dtype):
    """The kernel of a one-phase cell; `seen` (B, depth) meets the recurrent weights."""
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
        b = cuda.blockIdx.y * ROWS + cuda.threadIdx.y
        j = cuda.blockIdx.x * COLUMNS + cuda.threadIdx.x
        present = b < batch
        sums = sums_of(norm, seen, b, w_hh, hidden, depth, present)
        if not present or j >= hidden:
            return
        at = b * hidden + j
        if t >= lengths[b]:
            keep_states(old, at, new, at, plane)
            return
        x = plus(gates(xg, b * gate_count * hidden + j, hidden), gates(b_ih, j, hidden))
        values, saved = function(
            x,
            plus(sums, gates(b_hh, j, hidden)),
            states(old, at, plane),
            (),
            extra(extras, t, b, j),
        )
        put_states(new, at, plane, values)
        y[b * y_stride + j] = values[output]
        if keep:
            saves(tape, b * saved_count * hidden + j, hidden, saved)

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
        b = cuda.blockIdx.y * ROWS + cuda.threadIdx.y
        j = cuda.blockIdx.x * COLUMNS + cuda.threadIdx.x
        present = b < batch
        sums = sums_of(norm, old, b, w_hh, hidden, hidden, present)
        if not present or j >= hidden:
            return
        at = b * hidden + j
        x = plus(early(xg, b * gate_count * hidden + j, hidden), early(b_ih, j, hidden))
        value, passed = function(
            x, plus(sums, early(b_hh, j, hidden)), states(old, at, plane), extra(extras, t, b, j)
        )
        gated[at] = value
        keeps(kept, b * kept_count * hidden + j, hidden, passed)

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
        b = cuda.blockIdx.y * ROWS + cuda.threadIdx.y
        j = cuda.blockIdx.x * COLUMNS + cuda.threadIdx.x
        present = b < batch
        sums = sums_of(norm, gated, b, w_hh, hidden, hidden, present)
        if not present or j >= hidden:
            return
        at = b * hidden + j
        if t >= lengths[b]:
            keep_states(old, at, new, at, plane)
            return
        x_at = (b * gate_count + early_count) * hidden + j
        values, saved = function(
            plus(late(xg, x_at, hidden), late(b_ih, j, hidden)),
            plus(sums, late(b_hh, j, hidden)),
            states(old, at, plane),
            kept_values(kept, b * kept_count * hidden + j, hidden),
            extra(extras, t, b, j),
        )
        put_states(new, at, plane, values)
        y[b * y_stride + j] = values[output]
        if keep:
            saves(tape, b * saved_count * hidden + j, hidden, saved)

    f, s, i = floats(dtype), floats(working(dtype)), INTEGER
    more = type_of_norm(cell, dtype), types_of_extras(cell, dtype)
    types = (i, INTEGERS, i, i, f, f, f, f, *more, f, s, s, s, i, f, i, s, i)
    return Kernel(f"late_step {text_of_cell(cell)} {dtype}", forward, types)
