"""Layer normalisation of rows of products, and the way back: see `..normalisation`.

A cell has two kinds of rows, INPUTS and HIDDEN; of each, `norms` holds a tuple

- gain, bias (G H,), as the parameters lie,
- normals, flat (T B, G H'): of a two-phase cell's hidden states the early gates', then the late,
- scales (T B, phases): 1 / sqrt(variance + EPSILON).

The last two are empty where nothing is kept; of a cell that is not normalised `norms` is ().

Rows of products and of normals lie vector by vector of hidden units, and of each vector the gates
in turn (see `passes`); those of gradients lie gate by gate. What is one
number of a row is computed in float64.
"""

from functools import cache
from math import sqrt

import numpy as np

from ..normalisation import EPSILON
from .compiling import inlined, kernel
from .extras import load_row
from .simd import REGISTER_BYTES, broadcast, fma, lanes_of, load, store, sum_lanes

INPUTS, HIDDEN = 0, 1
BLOCK_ROWS = 64  # of gradients: they stay in the cache from one use to the next


def _sum_of(plus):
    """A function (a, begin, end, mean) -> the sum over whole vectors of what `plus` adds for each.

    It makes four sums at a time: the next addition to one of them must wait for the last.
    """

    @inlined
    def total(a, begin, end, mean):
        lanes = REGISTER_BYTES // a.itemsize
        one = two = three = four = broadcast(a, 0)
        whole = begin + (end - begin) // (4 * lanes) * (4 * lanes)
        for i in range(begin, whole, 4 * lanes):
            one, two = plus(a, i, mean, one), plus(a, i + lanes, mean, two)
            three, four = plus(a, i + 2 * lanes, mean, three), plus(a, i + 3 * lanes, mean, four)
        for i in range(whole, end, lanes):
            one = plus(a, i, mean, one)
        return sum_lanes((one + two) + (three + four))

    return total


@inlined
def _plus_number(a, i, mean, total):
    return total + load(a, i)


@inlined
def _plus_square(a, i, mean, total):
    distance = load(a, i) - mean
    return fma(distance, distance, total)


_sum, _sum_of_squares = _sum_of(_plus_number), _sum_of(_plus_square)


@inlined
def _mean_and_scale(a, at, gates, hidden):
    """Of the row from a[at] on; whatever pads H to H' does not count."""
    lanes = REGISTER_BYTES // a.itemsize
    size, whole = gates * hidden, hidden // lanes * lanes
    rest, end = hidden - whole, at + gates * whole
    total = np.float64(_sum(a, at, end, 0))
    for g in range(gates):
        for i in range(end + g * lanes, end + g * lanes + rest):
            total += a[i]
    mean = total / size
    squares = np.float64(_sum_of_squares(a, at, end, mean))
    for g in range(gates):
        for i in range(end + g * lanes, end + g * lanes + rest):
            squares += (a[i] - mean) ** 2
    return mean, 1 / sqrt(squares / size + EPSILON)


def _phase(cell, rows, phase):
    """(the number of the first gate, how many gates) of a row."""
    if rows == INPUTS or not cell.late:
        return 0, cell.gates
    early = cell.gates - cell.late
    return (0, early) if phase == 0 else (early, cell.late)


@cache
def normalise(cell, dtype, kind, phase=0):
    """A function that normalises `count` rows of products in place, with gain and bias.

    Row r begins at a[offsets[r]] and is number first + rows[r] of those kept, if they are to be.
    It does nothing for a cell that is not normalised.
    """
    if not cell.normalised:
        return inlined(lambda a, offsets, count, rows, first, hidden, padded, norms, keep: None)
    (early, gates), all_gates = _phase(cell, kind, phase), cell.gates
    lanes, load_units = lanes_of(dtype), load_row(lanes_of(dtype))

    @inlined
    def run(a, offsets, count, rows, first, hidden, padded, norms, keep):
        gain, bias, normals, scales = norms[kind]
        for r in range(count):
            at, row = offsets[r], first + rows[r]
            mean, scale = _mean_and_scale(a, at, gates, hidden)
            if keep:
                scales[row, phase] = scale
            normals_at = (row * all_gates + early) * padded
            for j in range(0, padded, lanes):
                for g in range(gates):
                    i, unit = j * gates + g * lanes, (early + g) * hidden + j
                    normal = (load(a, at + i) - mean) * scale
                    if keep:
                        store(normals, normals_at + i, normal)
                    gained = normal * load_units(gain, unit, hidden - j)
                    store(a, at + i, gained + load_units(bias, unit, hidden - j))

    return run


@cache
def normalise_backward(cell, dtype, kind, phase=0):
    """A function for the way back through `count` rows of products.

    Rows first + rows[r] of d (T B, G, H') are the gradients by what `normalise` made; it writes
    those by the products to `out`, which may be d, and adds those by gain and bias to totals
    (2, G, H'); `norm` is (gain, normals, scales, totals). It does nothing for a cell
    that is not normalised.
    """
    if not cell.normalised:
        return inlined(lambda d, out, count, rows, first, hidden, padded, norm: None)
    (early, gates), all_gates = _phase(cell, kind, phase), cell.gates
    lanes, load_units = lanes_of(dtype), load_row(lanes_of(dtype))

    @inlined
    def add_gradients(d, count, rows, first, padded, normals, totals):
        for g in range(gates):
            for j in range(0, padded, lanes):
                by_gain = by_bias = broadcast(d, 0)
                for r in range(count):
                    at = ((first + rows[r]) * all_gates + early) * padded
                    value = load(d, at + g * padded + j)
                    by_gain = fma(value, load(normals, at + j * gates + g * lanes), by_gain)
                    by_bias = by_bias + value
                to_gain = (early + g) * padded + j
                to_bias = to_gain + all_gates * padded
                store(totals, to_gain, load(totals, to_gain) + by_gain)
                store(totals, to_bias, load(totals, to_bias) + by_bias)

    @inlined
    def run(d, out, count, rows, first, hidden, padded, norm):
        gain, normals, scales, totals = norm
        add_gradients(d, count, rows, first, padded, normals, totals.reshape(-1))
        size = gates * hidden
        for r in range(count):
            row = first + rows[r]
            at = (row * all_gates + early) * padded
            total = along = broadcast(d, 0)
            for g in range(gates):
                for j in range(0, padded, lanes):
                    unit, i = (early + g) * hidden + j, at + g * padded + j
                    gained = load(d, i) * load_units(gain, unit, hidden - j)
                    total = total + gained
                    along = fma(gained, load(normals, at + j * gates + g * lanes), along)
            mean, slope = sum_lanes(total) / size, sum_lanes(along) / size
            scale = scales[row, phase]
            for g in range(gates):
                for j in range(0, padded, lanes):
                    unit, i = (early + g) * hidden + j, at + g * padded + j
                    gained = load(d, i) * load_units(gain, unit, hidden - j)
                    normal = load(normals, at + j * gates + g * lanes)
                    store(out, i, (gained - mean - normal * slope) * scale)

    return run


@cache
def normalise_inputs_backward(cell, dtype):
    """The kernel that takes the way back in dxg (T, B, G, H') itself, of the rows that `valid`
    numbers, once the time loop is done."""
    run, gates = normalise_backward(cell, dtype, INPUTS), cell.gates

    @kernel(f"normalise_inputs_backward {gates} {dtype}")
    def backward(dxg, valid, hidden, norm):
        flat, padded = dxg.reshape(-1), dxg.shape[3]
        for first in range(0, valid.size, BLOCK_ROWS):
            rows = valid[first : first + BLOCK_ROWS]
            run(flat, flat, rows.size, rows, np.intp(0), hidden, padded, norm)

    return backward
