"""Time loops of light recurrences, whose units do not meet: their cells' steps, and back.

A thread has one unit of one sequence, neighbours have neighbouring units, so that memory is read
in whole lines. Where units are few and the cell is linear in its state, c = a c + b, the steps too
are spread, over chunks: one launch finds what each chunk makes of any state, c -> p c + s, and the
next begins each chunk with what those before it make of the first state. So what the cell reads is
read twice; where there are units enough, once.

A matrix is a pair (a flat array, numbers from row to row): see `kernels.matrices`. Its rows are
those of all steps and sequences, or a single one that serves them all, of pitch 0. Of what a cell
reads there are as many matrices, each from the first unit's number on.
"""

from functools import cache

import cupy
from numba import types

from ..matrices import rows_of, separated
from ..specialise import specialise, text_of
from .device import INTEGER, INTEGERS, cuda, floats, inlined
from .functions import REPLACEMENTS
from .launching import Kernel
from .tuples import gather_rows, scatter_rows

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
    """What the thread's chunk makes of any number c: p c + s."""
    chunk, chunks = cuda.blockIdx.y, cuda.gridDim.y
    summaries[chunk * units + unit] = p
    summaries[(chunks + chunk) * units + unit] = s


@inlined
def _apply_summary(c, summaries, unit, units, chunk):
    """What a chunk makes of c."""
    p = summaries[chunk * units + unit]
    return p * c + summaries[(cuda.gridDim.y + chunk) * units + unit]


@inlined
def _row(k, length, reverse, batch, b):
    return (length - 1 - k if reverse else k) * batch + b


def _inputs_type(cell, dtype):
    """Numba's types of the matrices that the cell reads, their pitches apart."""
    return types.UniTuple(floats(dtype), cell.reads), types.UniTuple(INTEGER, cell.reads)


@cache
def summary_kernel(cell, dtype):
    """What each chunk makes of a state c: p c + s; summaries (2, C, B H) of the p and the s."""
    read = gather_rows(cell.reads)
    coefficients = specialise(cell.coefficients, REPLACEMENTS, inlined)

    def run(inputs, pitches, batch, hidden, lengths, reverse, summaries):
        unit, units = cuda.grid(1), batch * hidden
        if unit >= units:
            return
        b, u, length, first, last = _share(unit, hidden, lengths)
        s = type(summaries[0])(0)
        p = type(summaries[0])(1)
        for k in range(first, last):
            row = _row(k, length, reverse, batch, b)
            a, new = coefficients(read(inputs, pitches, row, u, 1))
            p, s = p * a, a * s + new
        _summarise(summaries, unit, units, p, s)

    f, i = floats(dtype), INTEGER
    signature = (*_inputs_type(cell, dtype), i, i, INTEGERS, types.boolean, f)
    return Kernel(f"scan_summary {text_of(cell.coefficients)} {dtype}", run, signature)


@cache
def forward_kernel(cell, dtype):
    """The kernel of `scan_forward`."""
    read = gather_rows(cell.reads)
    step = specialise(cell.step, REPLACEMENTS, inlined)

    def run(
        inputs, pitches, batch, hidden, lengths, reverse, summaries, initial, final, y, y_pitch,
        states, keep,
    ):  # fmt: skip
        unit, chunk, chunks = cuda.grid(1), cuda.blockIdx.y, cuda.gridDim.y
        units = batch * hidden
        if unit >= units:
            return
        b, u, length, first, last = _share(unit, hidden, lengths)
        c = initial[unit]
        for before in range(chunk):
            c = _apply_summary(c, summaries, unit, units, before)
        for k in range(first, last):
            row = _row(k, length, reverse, batch, b)
            c, out = step(read(inputs, pitches, row, u, 1), c)
            y[row * y_pitch + u] = out
            if keep:
                states[row * hidden + u] = c
        if chunk == chunks - 1:
            final[unit] = c

    f, i, yes = floats(dtype), INTEGER, types.boolean
    signature = (*_inputs_type(cell, dtype), i, i, INTEGERS, yes, f, f, f, f, i, f, yes)
    return Kernel(f"scan_forward {text_of(cell.step)} {dtype}", run, signature)


@cache
def summary_back_kernel(cell, dtype):
    """As `summary_kernel`, of the gradient by the state on its way back."""
    read = gather_rows(cell.reads)
    coefficients = specialise(cell.coefficients, REPLACEMENTS, inlined)
    by_output = specialise(cell.by_output, REPLACEMENTS, inlined)

    def run(
        inputs, pitches, batch, hidden, lengths, reverse, summaries, states, dy, dy_pitch
    ):  # fmt: skip
        unit, units = cuda.grid(1), batch * hidden
        if unit >= units:
            return
        b, u, length, first, last = _share(unit, hidden, lengths)
        s = type(summaries[0])(0)
        p = type(summaries[0])(1)
        for k in range(last - 1, first - 1, -1):
            row = _row(k, length, reverse, batch, b)
            x = read(inputs, pitches, row, u, 1)
            a, _ = coefficients(x)
            dc = by_output(x, states[row * hidden + u], dy[row * dy_pitch + u])
            p, s = p * a, a * (s + dc)
        _summarise(summaries, unit, units, p, s)

    f, i = floats(dtype), INTEGER
    signature = (*_inputs_type(cell, dtype), i, i, INTEGERS, types.boolean, f, f, f, i)
    identity = f"scan_summary_back {text_of(cell.coefficients)} {text_of(cell.by_output)} {dtype}"
    return Kernel(identity, run, signature)


@cache
def backward_kernel(cell, dtype):
    """The kernel of `scan_backward`."""
    read, write = gather_rows(cell.reads), scatter_rows(cell.reads)
    gradients = specialise(cell.backward, REPLACEMENTS, inlined)

    def run(
        inputs, pitches, dinputs, dpitches, batch, hidden, lengths, reverse, summaries, initial,
        dfinal, dinitial, states, dy, dy_pitch,
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
                old = states[_row(k - 1, length, reverse, batch, b) * hidden + u]
            else:
                old = initial[unit]
            x, new = read(inputs, pitches, row, u, 1), states[row * hidden + u]
            dinput, carry = gradients(x, old, new, dy[row * dy_pitch + u], carry)
            write(dinputs, dpitches, row, u, dinput, 1)
        if chunk == 0:
            dinitial[unit] = carry

    f, i, inputs = floats(dtype), INTEGER, _inputs_type(cell, dtype)
    signature = (*inputs, *inputs, i, i, INTEGERS, types.boolean, f, f, f, f, f, f, i)
    return Kernel(f"scan_backward {text_of(cell.backward)} {dtype}", run, signature)


def _grid(units, steps, linear=True):
    """Blocks over the units, and over chunks of the steps where units are too few."""
    wanted = ENOUGH * cupy.cuda.Device().attributes["MultiProcessorCount"] // units
    chunks = max(1, min(wanted, steps // SHORTEST, MOST_CHUNKS)) if linear else 1
    return -(-units // THREADS), chunks, 1


def _prepared(cell, carry, lengths, reverse, steps):
    """(grid, the arguments that all kernels have in common)."""
    grid = _grid(carry.size, steps, cell.coefficients is not None)
    summaries = cupy.empty((2, grid[1] if grid[1] > 1 else 0, carry.size), carry.dtype)
    return grid, (*carry.shape, lengths, reverse, summaries)


def _flat(inputs):
    """The arrays of matrices, then their pitches: a tuple is so many arguments to a kernel."""
    arrays, pitches = separated(inputs)
    return *arrays, *pitches


def scan_forward(cell, inputs, lengths, reverse, carry, y, column, states=None):
    """Write what comes out of all steps to the columns from `column` on of y (T, B, ...).

    carry (B, H) holds the first state and is renewed in place. All states go to `states`
    (T, B, H), if that is given. lengths (B,) of int64; what lies past a sequence's end is left as
    it is. With `reverse` a sequence begins at its end.
    """
    grid, shared = _prepared(cell, carry, lengths, reverse, len(y))
    run, keep = (*_flat(inputs), *shared), states is not None
    if grid[1] > 1:
        summary_kernel(cell, carry.dtype)(grid, (THREADS, 1, 1), *run)
    forward_kernel(cell, carry.dtype)(
        grid, (THREADS, 1, 1), *run, carry.copy(), carry, *rows_of(y, column),
        states if keep else 0, keep,
    )  # fmt: skip


def scan_backward(cell, inputs, dinputs, lengths, reverse, initial, carry, states, dy, column):
    """Write the gradients by the inputs, of those by what came out of all steps.

    initial (B, H) is the first state, `states` (T, B, H) are those after all steps; the gradients
    by the output are the columns from `column` on of dy (T, B, ...); carry comes in as the
    gradient by the last state and leaves as that by the first.
    """
    grid, shared = _prepared(cell, carry, lengths, reverse, len(dy))
    gradients = (states, *rows_of(dy, column))
    if grid[1] > 1:
        summary_back_kernel(cell, carry.dtype)(
            grid, (THREADS, 1, 1), *_flat(inputs), *shared, *gradients
        )
    backward_kernel(cell, carry.dtype)(
        grid, (THREADS, 1, 1), *_flat(inputs), *_flat(dinputs), *shared, initial, carry.copy(),
        carry, *gradients,
    )  # fmt: skip
