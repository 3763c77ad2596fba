"""Scans over time, h_t = a_t h_{t-1} + b_t, and back; a and b of a `ScanCell`, made on the way.

A thread has one unit of one sequence, neighbours have neighbouring units, so that memory is read
in whole lines. Of few units the steps too are spread, over chunks: one launch finds what each
chunk makes of any state, h -> p h + s, and the next begins each chunk with what those before it
make of the first state. So the gates are read twice; where there are units enough, once.

Gates are a tuple of flat arrays that begin at gate 0, 1, ... of the first step and sequence;
`pitch` numbers further on begins the next sequence's.
"""

from functools import cache

import cupy
import numpy as np
from numba import types

from ..specialise import specialise, text_of
from .device import INTEGER, INTEGERS, cuda, floats, inlined
from .functions import REPLACEMENTS
from .launching import Kernel
from .tuples import gather_each, scatter_each

THREADS = 128
ENOUGH = 1024  # threads for each multiprocessor
SHORTEST = 16  # steps of a chunk
MOST_CHUNKS = 64  # a thread goes through the summaries of all chunks before its own


@inlined
def _share(unit, hidden, lengths):
    """(sequence, its unit, its length, first step, last) of a thread's unit of all sequences.

    Steps, those of the thread's chunk, are counted in the order in which they are run.
    """
    chunk, chunks, b = cuda.blockIdx.y, cuda.gridDim.y, unit // hidden
    length = lengths[b]
    first, last = length * chunk // chunks, length * (chunk + 1) // chunks
    return b, unit % hidden, length, first, last


@inlined
def _summarise(summaries, unit, units, p, s):
    """What the thread's chunk makes of any number h: p h + s."""
    chunk, chunks = cuda.blockIdx.y, cuda.gridDim.y
    summaries[chunk * units + unit] = p
    summaries[(chunks + chunk) * units + unit] = s


@inlined
def _apply_summary(h, summaries, unit, units, chunk):
    """What a chunk makes of h."""
    p = summaries[chunk * units + unit]
    return p * h + summaries[(cuda.gridDim.y + chunk) * units + unit]


@inlined
def _row(k, length, reverse, batch, b):
    return (length - 1 - k if reverse else k) * batch + b


def _tools(cell):
    coefficients = specialise(cell.coefficients, REPLACEMENTS, inlined)
    return gather_each(cell.gates), coefficients


@cache
def summary_kernel(cell, dtype):
    """What each chunk makes of a state h: p h + s; summaries (2, C, B H) of the p and the s."""
    read, coefficients = _tools(cell)

    def run(gates, pitch, batch, hidden, lengths, reverse, summaries):
        unit, units = cuda.grid(1), batch * hidden
        if unit >= units:
            return
        b, u, length, first, last = _share(unit, hidden, lengths)
        s = type(summaries[0])(0)
        p = type(summaries[0])(1)
        for k in range(first, last):
            at = _row(k, length, reverse, batch, b) * pitch + u
            a, new = coefficients(read(gates, at))
            p, s = p * a, a * s + new
        _summarise(summaries, unit, units, p, s)

    f, i = floats(dtype), INTEGER
    signature = (types.UniTuple(f, cell.gates), i, i, i, INTEGERS, types.boolean, f)
    return Kernel(f"scan_summary {text_of(cell.coefficients)} {dtype}", run, signature)


@cache
def forward_kernel(cell, dtype):
    """The kernel of `scan_forward`."""
    read, coefficients = _tools(cell)

    def run(
        gates, pitch, batch, hidden, lengths, reverse, summaries, initial, final, y, y_pitch
    ):  # fmt: skip
        unit, chunk, chunks = cuda.grid(1), cuda.blockIdx.y, cuda.gridDim.y
        units = batch * hidden
        if unit >= units:
            return
        b, u, length, first, last = _share(unit, hidden, lengths)
        h = initial[unit]
        for before in range(chunk):
            h = _apply_summary(h, summaries, unit, units, before)
        for k in range(first, last):
            row = _row(k, length, reverse, batch, b)
            a, new = coefficients(read(gates, row * pitch + u))
            h = a * h + new
            y[row * y_pitch + u] = h
        if chunk == chunks - 1:
            final[unit] = h

    f, i = floats(dtype), INTEGER
    gates = types.UniTuple(f, cell.gates)
    signature = (gates, i, i, i, INTEGERS, types.boolean, f, f, f, f, i)
    return Kernel(f"scan_forward {text_of(cell.coefficients)} {dtype}", run, signature)


@cache
def summary_back_kernel(cell, dtype):
    """As `summary_kernel`, of the gradient by the state on its way back."""
    read, coefficients = _tools(cell)

    def run(gates, pitch, batch, hidden, lengths, reverse, summaries, dy, dy_pitch):
        unit, units = cuda.grid(1), batch * hidden
        if unit >= units:
            return
        b, u, length, first, last = _share(unit, hidden, lengths)
        s = type(summaries[0])(0)
        p = type(summaries[0])(1)
        for k in range(last - 1, first - 1, -1):
            row = _row(k, length, reverse, batch, b)
            a, _ = coefficients(read(gates, row * pitch + u))
            p, s = p * a, a * (s + dy[row * dy_pitch + u])
        _summarise(summaries, unit, units, p, s)

    f, i = floats(dtype), INTEGER
    signature = (types.UniTuple(f, cell.gates), i, i, i, INTEGERS, types.boolean, f, f, i)
    return Kernel(f"scan_summary_back {text_of(cell.coefficients)} {dtype}", run, signature)


@cache
def backward_kernel(cell, dtype):
    """The kernel of `scan_backward`."""
    read, coefficients = _tools(cell)
    write = scatter_each(cell.gates)
    gradients = specialise(cell.backward, REPLACEMENTS, inlined)

    def run(
        gates, dgates, pitch, batch, hidden, lengths, reverse, summaries, initial, dfinal, dinitial,
        y, y_pitch, dy, dy_pitch,
    ):  # fmt: skip
        unit, chunk, chunks = cuda.grid(1), cuda.blockIdx.y, cuda.gridDim.y
        units = batch * hidden
        if unit >= units:
            return
        b, u, length, first, last = _share(unit, hidden, lengths)
        carry = dfinal[unit]
        for after in range(chunks - 1, chunk, -1):
            carry = _apply_summary(carry, summaries, unit, units, after)
        for k in range(last - 1, first - 1, -1):
            row = _row(k, length, reverse, batch, b)
            if k > 0:
                old = y[_row(k - 1, length, reverse, batch, b) * y_pitch + u]
            else:
                old = initial[unit]
            at, dh = row * pitch + u, dy[row * dy_pitch + u] + carry
            x = read(gates, at)
            a, _ = coefficients(x)
            write(dgates, at, gradients(x, dh * old, dh))
            carry = a * dh
        if chunk == 0:
            dinitial[unit] = carry

    f, i = floats(dtype), INTEGER
    gates = types.UniTuple(f, cell.gates)
    signature = (gates, gates, i, i, i, INTEGERS, types.boolean, f, f, f, f, f, i, f, i)
    identity = f"scan_backward {text_of(cell.coefficients)} {text_of(cell.backward)} {dtype}"
    return Kernel(identity, run, signature)


KERNELS = (summary_kernel, forward_kernel, summary_back_kernel, backward_kernel)


def _grid(units, steps):
    """Blocks over the units, and over chunks of the steps where units are too few."""
    wanted = ENOUGH * cupy.cuda.Device().attributes["MultiProcessorCount"] // units
    chunks = max(1, min(wanted, steps // SHORTEST, MOST_CHUNKS))
    return -(-units // THREADS), chunks, 1


def _prepared(carry, lengths, steps):
    """(grid, room for summaries, batch, hidden, lengths on the device)."""
    grid = _grid(carry.size, steps)
    summaries = cupy.empty((2, grid[1] if grid[1] > 1 else 0, carry.size), carry.dtype)
    return grid, summaries, *carry.shape, cupy.asarray(lengths, np.int64)


def scan_forward(cell, gates, pitch, lengths, reverse, carry, y, column):
    """Write the states of all steps to the columns from `column` on of y (T, B, ...).

    carry (B, H) holds the first state and is renewed in place; lengths (B,) on the host; what
    lies past a sequence's end is left as it is. With `reverse` a sequence begins at its end.
    """
    grid, summaries, batch, hidden, ends = _prepared(carry, lengths, len(y))
    run = (*gates, pitch, batch, hidden, ends, reverse, summaries)
    if grid[1] > 1:
        summary_kernel(cell, carry.dtype)(grid, (THREADS, 1, 1), *run)
    forward_kernel(cell, carry.dtype)(
        grid, (THREADS, 1, 1), *run, carry.copy(), carry, y.reshape(-1)[column:], y.shape[2]
    )


def scan_backward(
    cell, gates, dgates, pitch, lengths, reverse, initial, carry, y, column, dy, dy_column
):
    """Write the gradients by the gates, of those by the states dy (T, B, ...) of all steps.

    initial (B, H) is the first state, y what `scan_forward` wrote; carry (B, H) comes in as the
    gradient by the last state and leaves as that by the first.
    """
    grid, summaries, batch, hidden, ends = _prepared(carry, lengths, len(y))
    run = (pitch, batch, hidden, ends, reverse, summaries)
    states = (y.reshape(-1)[column:], y.shape[2])
    gradients = (dy.reshape(-1)[dy_column:], dy.shape[2])
    if grid[1] > 1:
        summary_back_kernel(cell, carry.dtype)(grid, (THREADS, 1, 1), *gates, *run, *gradients)
    backward_kernel(cell, carry.dtype)(
        grid, (THREADS, 1, 1), *gates, *dgates, *run, initial, carry.copy(), carry, *states,
        *gradients,
    )  # fmt: skip
