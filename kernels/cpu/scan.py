"""Scans over time, h_t = a_t h_{t-1} + b_t, and back; a and b of a `ScanCell`, made on the way.

Time is the outer loop, so that memory is read as it lies; the states of a thread's units stay in
the nearest cache. Threads have sequences or, of few sequences, units each.

- Gates are a tuple of flat arrays that begin at gate 0, 1, ... of the first step and sequence;
  `pitch` numbers further on begins the next sequence's.
- carry (B, H) holds the state at first, or the gradient by it, and is renewed in place.
"""

from functools import cache

from ..specialise import specialise, text_of
from .compiling import inlined, kernel
from .functions import REPLACEMENTS
from .simd import fma, lanes_of, load_each, load_part, store_each, store_part
from .threads import run_parallel, shares, split

COST = 20  # operations for a gate of a unit, about


@cache
def _forward(cell, dtype):
    lanes = lanes_of(dtype)
    coefficients = specialise(cell.coefficients, REPLACEMENTS, inlined)

    @kernel(f"scan {text_of(cell.coefficients)} {dtype}")
    def run(gates, pitch, lengths, reverse, carry, y, y_pitch, sequences, units):
        batch, hidden = carry.shape
        states = carry.reshape(-1)
        for k in range(lengths.max()):
            for b in range(sequences[0], sequences[1]):
                if k >= lengths[b]:
                    continue
                row = (lengths[b] - 1 - k if reverse else k) * batch + b
                for u in range(units[0], units[1], lanes):
                    count, at = min(lanes, units[1] - u), b * hidden + u
                    a, new = coefficients(load_each(gates, row * pitch + u, count))
                    h = fma(a, load_part(states, at, count), new)
                    store_part(states, at, h, count)
                    store_part(y, row * y_pitch + u, h, count)

    return run


@cache
def _backward(cell, dtype):
    lanes = lanes_of(dtype)
    coefficients = specialise(cell.coefficients, REPLACEMENTS, inlined)
    gradients = specialise(cell.backward, REPLACEMENTS, inlined)

    @kernel(f"scan_back {text_of(cell.coefficients)} {text_of(cell.backward)} {dtype}")
    def run(
        gates, dgates, pitch, lengths, reverse, initial, carry, y, y_pitch, dy, dy_pitch,
        sequences, units,
    ):  # fmt: skip
        batch, hidden = carry.shape
        states, first = carry.reshape(-1), initial.reshape(-1)
        back = batch if reverse else -batch
        for k in range(lengths.max() - 1, -1, -1):
            for b in range(sequences[0], sequences[1]):
                if k >= lengths[b]:
                    continue
                row = (lengths[b] - 1 - k if reverse else k) * batch + b
                for u in range(units[0], units[1], lanes):
                    count, at = min(lanes, units[1] - u), b * hidden + u
                    x = load_each(gates, row * pitch + u, count)
                    if k:
                        old = load_part(y, (row + back) * y_pitch + u, count)
                    else:
                        old = load_part(first, at, count)
                    dh = load_part(dy, row * dy_pitch + u, count) + load_part(states, at, count)
                    a, _ = coefficients(x)
                    store_each(dgates, row * pitch + u, gradients(x, dh * old, dh), count)
                    store_part(states, at, a * dh, count)

    return run


def _parts(cell, lengths, hidden, dtype):
    """(sequences, units) for each thread, both as bounds."""
    threads = shares(COST * cell.gates * hidden * int(lengths.sum()))
    sequences = split(len(lengths), threads)
    lanes = lanes_of(dtype)
    blocks = split(-(-hidden // lanes), threads // len(sequences))
    units = [(first * lanes, min(last * lanes, hidden)) for first, last in blocks]
    return [(some, part) for some in sequences for part in units]


def scan_forward(cell, gates, pitch, lengths, reverse, carry, y, column):
    """Write the states of all steps to the columns from `column` on of y (T, B, ...).

    lengths (B,); what lies past a sequence's end is left as it is. With `reverse` a sequence
    begins at its end.
    """
    run = _forward(cell, carry.dtype)
    target, y_pitch = y.reshape(-1)[column:], y.shape[2]
    run_parallel(
        run,
        [
            (gates, pitch, lengths, reverse, carry, target, y_pitch, *part)
            for part in _parts(cell, lengths, carry.shape[1], carry.dtype)
        ],
    )


def scan_backward(
    cell, gates, dgates, pitch, lengths, reverse, initial, carry, y, column, dy, dy_column
):
    """Write the gradients by the gates, of those by the states dy (T, B, ...) of all steps.

    initial (B, H) is the first state, y what `scan_forward` wrote; carry (B, H) comes in as the
    gradient by the last state and leaves as that by the first.
    """
    run = _backward(cell, carry.dtype)
    states, gradients = y.reshape(-1)[column:], dy.reshape(-1)[dy_column:]
    run_parallel(
        run,
        [
            (
                gates, dgates, pitch, lengths, reverse, initial, carry, states, y.shape[2],
                gradients, dy.shape[2], *part,
            )
            for part in _parts(cell, lengths, carry.shape[1], carry.dtype)
        ],
    )  # fmt: skip
