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
from .compiling import inlined, kernel, part
from .simd import REGISTER_BYTES, broadcast, fma, lanes_of, load, load_part, store, sum_lanes
from .team import meet
from .views import flattened

INPUTS, HIDDEN = 0, 1
BLOCK_ROWS = 64  # of gradients: they stay in the cache from one use to the next


@inlined
def _sums(a, at, gates, hidden, center):
    """The sums of a row's distances from `center`, and of their squares.

    What pads H to H' may be anything.
    """
    lanes = REGISTER_BYTES // a.itemsize
    whole = hidden // lanes * lanes
    end = at + gates * whole
    first = second = first_squares = second_squares = broadcast(a, 0)
    for i in range(at, end - lanes, 2 * lanes):
        one, two = load(a, i) - center, load(a, i + lanes) - center
        first, first_squares = first + one, fma(one, one, first_squares)
        second, second_squares = second + two, fma(two, two, second_squares)
    if whole // lanes * gates % 2:
        one = load(a, end - lanes) - center
        first, first_squares = first + one, fma(one, one, first_squares)
    total = np.float64(sum_lanes(first + second))
    squares = np.float64(sum_lanes(first_squares + second_squares))
    for g in range(gates):
        for i in range(end + g * lanes, end + g * lanes + hidden - whole):
            total += a[i] - center
            squares += (a[i] - center) ** 2
    return total, squares


@inlined
def _mean_and_scale(a, at, gates, hidden):
    """Of the row from a[at] on, in two passes: far from 0 one pass would lose its digits."""
    size = gates * hidden
    total, _ = _sums(a, at, gates, hidden, 0.0)
    mean = total / size
    _, squares = _sums(a, at, gates, hidden, mean)
    return mean, 1 / sqrt(squares / size + EPSILON)


@cache
def _normalise_rows(dtype):
    """What `normalise` does of a row, or the gates from `early` on, of a cell of `all_gates`."""
    lanes = lanes_of(dtype)

    @part
    def run(
        board, member, members, meeting, a, offsets, count, rows, first, begin, end, hidden, padded,
        side, keep, early, gates, all_gates, phase,
    ):  # fmt: skip
        gain, bias, normals, scales = side
        moments = np.empty((count, 2))
        long = members > 1 and meet(board, member, members, meeting)
        for r in range(count):
            mean, scale = _mean_and_scale(a, offsets[r], gates, hidden)
            moments[r, 0], moments[r, 1] = mean, scale
        # Only now may anyone write, where the others read.
        long = members > 1 and meet(board, member, members, meeting + 1) or long
        for r in range(count):
            at, row, mean, scale = offsets[r], first + rows[r], moments[r, 0], moments[r, 1]
            if keep:
                scales[row, phase] = scale
            normals_at = (row * all_gates + early) * padded
            for g in range(gates):
                for j in range(begin, end, lanes):
                    i, unit = j * gates + g * lanes, (early + g) * hidden + j
                    normal = (load(a, at + i) - mean) * scale
                    if keep:
                        store(normals, normals_at + i, normal)
                    gained = normal * load_part(gain, unit, hidden - j)
                    store(a, at + i, gained + load_part(bias, unit, hidden - j))
        return long

    return run


@cache
def _normalise_rows_backward(dtype):
    """What `normalise_backward` does, of the gates from `early` on of a cell of `all_gates`."""
    lanes = lanes_of(dtype)

    @inlined
    def add_gradients(
        d, count, rows, first, begin, end, padded, normals, totals, early, gates, all_gates
    ):
        for g in range(gates):
            for j in range(begin, end, lanes):
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

    @part
    def run(
        board, member, members, meeting, d, out, count, rows, first, begin, end, hidden, padded,
        norm, early, gates, all_gates, phase,
    ):  # fmt: skip
        gain, normals, scales, totals = norm
        add_gradients(
            d, count, rows, first, begin, end, padded, normals, flattened(totals), early, gates,
            all_gates,
        )  # fmt: skip
        size, sums = gates * hidden, np.empty((count, 2), d.dtype)
        long = members > 1 and meet(board, member, members, meeting)
        for r in range(count):
            at = ((first + rows[r]) * all_gates + early) * padded
            total = along = broadcast(d, 0)
            for g in range(gates):
                for j in range(0, padded, lanes):
                    unit, i = (early + g) * hidden + j, at + g * padded + j
                    gained = load(d, i) * load_part(gain, unit, hidden - j)
                    total = total + gained
                    along = fma(gained, load(normals, at + j * gates + g * lanes), along)
            sums[r, 0], sums[r, 1] = sum_lanes(total) / size, sum_lanes(along) / size
        # Only now may anyone write, where the others read.
        long = members > 1 and meet(board, member, members, meeting + 1) or long
        for r in range(count):
            row, mean, slope = first + rows[r], sums[r, 0], sums[r, 1]
            at, scale = (row * all_gates + early) * padded, scales[row, phase]
            for g in range(gates):
                for j in range(begin, end, lanes):
                    unit, i = (early + g) * hidden + j, at + g * padded + j
                    gained = load(d, i) * load_part(gain, unit, hidden - j)
                    normal = load(normals, at + j * gates + g * lanes)
                    store(out, i, (gained - mean - normal * slope) * scale)
        return long

    return run


def _place(cell, kind, phase):
    """(number of the first gate, how many gates, of how many, phase) of a row."""
    early = cell.gates - cell.late
    if kind == INPUTS or not cell.late:
        first, gates = 0, cell.gates
    else:
        first, gates = (0, early) if phase == 0 else (early, cell.late)
    return tuple(np.intp(number) for number in (first, gates, cell.gates, phase))


@cache
def normalise(cell, dtype, kind, phase=0):
    """A function that normalises the units from `begin` to `end` of `count` rows of products in
    place, with gain and bias.

    Row r begins at a[offsets[r]] and is number first + rows[r] of those kept, if they are to be.
    All members of a team, each with units of its own, meet twice meanwhile, from `meeting` on:
    once all products are there, and once all have seen them. Returns whether they waited long
    (see `team.meet`). It does nothing for a cell that is not normalised.
    """
    if not cell.normalised:

        @inlined
        def nothing(
            board, member, members, meeting, a, offsets, count, rows, first, begin, end, hidden,
            padded, norms, keep,
        ):  # fmt: skip
            return False

        return nothing
    normalise_rows, (early, gates, all_gates, phase) = (
        _normalise_rows(dtype), _place(cell, kind, phase),
    )  # fmt: skip

    @inlined
    def run(
        board, member, members, meeting, a, offsets, count, rows, first, begin, end, hidden, padded,
        norms, keep,
    ):  # fmt: skip
        return normalise_rows(
            board, member, members, meeting, a, offsets, count, rows, first, begin, end, hidden,
            padded, norms[kind], keep, early, gates, all_gates, phase,
        )  # fmt: skip

    return run


@cache
def normalise_backward(cell, dtype, kind, phase=0):
    """A function for the way back through the units from `begin` to `end` of `count` rows.

    Rows first + rows[r] of d (T B, G, H') are the gradients by what `normalise` made; it writes
    those by the products to `out`, which may be d, and adds those by gain and bias to totals
    (2, G, H'); `norm` is (gain, normals, scales, totals). A team meets as in `normalise`. It does
    nothing for a cell that is not normalised.
    """
    if not cell.normalised:

        @inlined
        def nothing(
            board, member, members, meeting, d, out, count, rows, first, begin, end, hidden, padded,
            norm,
        ):  # fmt: skip
            return False

        return nothing
    back, place = _normalise_rows_backward(dtype), _place(cell, kind, phase)
    early, gates, all_gates, phase = place

    @inlined
    def run(
        board, member, members, meeting, d, out, count, rows, first, begin, end, hidden, padded,
        norm,
    ):  # fmt: skip
        return back(
            board, member, members, meeting, d, out, count, rows, first, begin, end, hidden, padded,
            norm, early, gates, all_gates, phase,
        )  # fmt: skip

    return run


@cache
def normalise_inputs_backward(dtype):
    """The kernel that takes the way back in dxg (T, B, G, H') itself, of the rows that `valid`
    numbers, once the time loop is done."""
    back = _normalise_rows_backward(dtype)

    @kernel(f"normalise_inputs_backward {dtype}")
    def backward(dxg, valid, hidden, norm):
        flat, (gates, padded), nothing = flattened(dxg), dxg.shape[2:], np.intp(0)
        for first in range(0, valid.size, BLOCK_ROWS):
            rows = valid[first : first + BLOCK_ROWS]
            back(
                rows, nothing, np.intp(1), nothing, flat, flat, rows.size, rows, nothing, nothing,
                padded, hidden, padded, norm, nothing, gates, gates, nothing,
            )  # fmt: skip

    return backward
