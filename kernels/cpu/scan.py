"""Time loops of light recurrences, whose units do not meet: their cells' steps, and back.

Time is the outer loop, so that memory is read as it lies; the states of a thread's units stay in
the nearest cache. Threads have sequences or, of few sequences, units each.

- A matrix is a pair (a flat array, numbers from row to row): see `rows_of`. Its rows are those of
  all steps and sequences, or a single one that serves them all, of pitch 0. Of what a cell reads
  there are as many matrices, each from the first unit's number on.
- carry (B, H) holds the state at first, or the gradient by it, and is renewed in place.
"""

from functools import cache

from ..matrices import rows_of, separated
from ..specialise import specialise, text_of
from .compiling import inlined, kernel
from .functions import REPLACEMENTS
from .simd import lanes_of, load_part, store_part
from .threads import run_parallel, shares, split
from .tuples import gather_rows, scatter_rows
from .views import flattened

COST = 100  # operations for a number that a unit reads, about


@cache
def _forward(cell, dtype):
    lanes, read = lanes_of(dtype), gather_rows(cell.reads)
    step = specialise(cell.step, REPLACEMENTS, inlined)

    @kernel(f"scan {cell.reads} {text_of(cell.step)} {dtype}")
    def run(
        inputs, pitches, lengths, reverse, carry, y, y_pitch, states, keep, sequences, units
    ):  # fmt: skip
        batch, hidden = carry.shape
        current = flattened(carry)
        for k in range(lengths.max()):
            for b in range(sequences[0], sequences[1]):
                if k >= lengths[b]:
                    continue
                row = (lengths[b] - 1 - k if reverse else k) * batch + b
                for u in range(units[0], units[1], lanes):
                    count, at = min(lanes, units[1] - u), b * hidden + u
                    x = read(inputs, pitches, row, u, count)
                    new, out = step(x, load_part(current, at, count))
                    store_part(current, at, new, count)
                    store_part(y, row * y_pitch + u, out, count)
                    if keep:
                        store_part(states, row * hidden + u, new, count)

    return run


@cache
def _backward(cell, dtype):
    lanes, read, write = lanes_of(dtype), gather_rows(cell.reads), scatter_rows(cell.reads)
    gradients = specialise(cell.backward, REPLACEMENTS, inlined)

    @kernel(f"scan_back {cell.reads} {text_of(cell.backward)} {dtype}")
    def run(
        inputs, pitches, dinputs, dpitches, lengths, reverse, initial, carry, states, dy, dy_pitch,
        sequences, units,
    ):  # fmt: skip
        batch, hidden = carry.shape
        current, first = flattened(carry), flattened(initial)
        back = batch if reverse else -batch
        for k in range(lengths.max() - 1, -1, -1):
            for b in range(sequences[0], sequences[1]):
                if k >= lengths[b]:
                    continue
                row = (lengths[b] - 1 - k if reverse else k) * batch + b
                for u in range(units[0], units[1], lanes):
                    count, at = min(lanes, units[1] - u), b * hidden + u
                    if k:
                        old = load_part(states, (row + back) * hidden + u, count)
                    else:
                        old = load_part(first, at, count)
                    dinput, dold = gradients(
                        read(inputs, pitches, row, u, count),
                        old,
                        load_part(states, row * hidden + u, count),
                        load_part(dy, row * dy_pitch + u, count),
                        load_part(current, at, count),
                    )
                    write(dinputs, dpitches, row, u, dinput, count)
                    store_part(current, at, dold, count)

    return run


def _parts(cell, lengths, hidden, dtype):
    """(sequences, units) for each thread, both as bounds."""
    threads = shares(COST * cell.reads * hidden * int(lengths.sum()))
    sequences = split(len(lengths), threads)
    lanes = lanes_of(dtype)
    blocks = split(-(-hidden // lanes), threads // len(sequences))
    units = [(first * lanes, min(last * lanes, hidden)) for first, last in blocks]
    return [(some, part) for some in sequences for part in units]


def scan_forward(cell, inputs, lengths, reverse, carry, y, column, states=None):
    """Write what comes out of all steps to the columns from `column` on of y (T, B, ...).

    Also write all states to `states` (T, B, H), if that is given. lengths (B,); what lies past a
    sequence's end is left as it is. With `reverse` a sequence begins at its end.
    """
    keep = states is not None
    kept = (states if keep else carry).reshape(-1)
    run = (
        *separated(inputs), lengths, reverse, carry, *rows_of(y, column), kept, keep
    )  # fmt: skip
    parts = _parts(cell, lengths, carry.shape[1], carry.dtype)
    run_parallel(_forward(cell, carry.dtype), [(*run, *part) for part in parts])


def scan_backward(cell, inputs, dinputs, lengths, reverse, initial, carry, states, dy, column):
    """Write the gradients by the inputs, of those by what came out of all steps.

    initial (B, H) is the first state, `states` (T, B, H) are those after all steps; the gradients
    by the output are the columns from `column` on of dy (T, B, ...); carry comes in as the
    gradient by the last state and leaves as that by the first.
    """
    run = (
        *separated(inputs), *separated(dinputs), lengths, reverse, initial, carry,
        states.reshape(-1), *rows_of(dy, column),
    )  # fmt: skip
    parts = _parts(cell, lengths, carry.shape[1], carry.dtype)
    run_parallel(_backward(cell, carry.dtype), [(*run, *part) for part in parts])
