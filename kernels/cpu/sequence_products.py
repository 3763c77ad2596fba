"""Products of matrices that belong to a sequence each, read and written where they lie.

Arrays are time-major: the steps of one sequence lie a whole batch apart.
"""

import numpy as np

from .blocks import VECTORS
from .compiling import inlined, kernel
from .packing import pack_columns, pack_rows
from .product import multiply_panels
from .simd import REGISTER_BYTES, load_part, store_part, sum_lanes
from .threads import run_parallel, shares, split
from .views import flattened

FEW = 4  # rows: to pack the right factor for fewer costs more than the product


@inlined
def _multiply_few(
    a, a_start, a_row, rows, depth, b, b_start, b_row, by_columns, c, c_start, c_row, columns
):  # fmt: skip
    """C = A @ B as it stands, without packing."""
    lanes = REGISTER_BYTES // a.itemsize
    for r in range(rows):
        of_a, of_c = a_start + r * a_row, c_start + r * c_row
        if by_columns:
            for n in range(columns):
                of_b = b_start + n * b_row
                some = min(lanes, depth)
                total = load_part(a, of_a, some) * load_part(b, of_b, some)
                for k in range(lanes, depth, lanes):
                    some = min(lanes, depth - k)
                    total = total + load_part(a, of_a + k, some) * load_part(b, of_b + k, some)
                c[of_c + n] = sum_lanes(total)
        else:
            for w in range(0, columns, lanes):
                some = min(lanes, columns - w)
                total = load_part(b, b_start + w, some) * a[of_a]
                for k in range(1, depth):
                    total = total + load_part(b, b_start + k * b_row + w, some) * a[of_a + k]
                store_part(c, of_c + w, total, some)


@kernel("multiply_sequences")
def _multiply(
    a, a_pitches, b, b_pitches, by_columns, c, c_pitches, sizes, resume, first, last
):  # fmt: skip
    """C (+)= A @ B of each of the sequences first .. last - 1; see `_products`."""
    flat_a, flat_b, flat_c = flattened(a), flattened(b), flattened(c)
    across = VECTORS * (REGISTER_BYTES // a.itemsize)
    nothing, no_start = np.empty(0, a.dtype), np.empty(0, np.intp)
    for n in range(first, last):
        rows, depth, columns = sizes[n]
        starts = n * a_pitches[0], n * b_pitches[0], n * c_pitches[0]
        if rows < FEW and a_pitches[2] == 1 and not resume:
            _multiply_few(
                flat_a, starts[0], a_pitches[1], rows, depth, flat_b, starts[1], b_pitches[1],
                by_columns, flat_c, starts[2], c_pitches[1], columns,
            )  # fmt: skip
            continue
        panels = np.empty(((columns + across - 1) // across, depth + 1, across), a.dtype)
        if by_columns:
            of_b = starts[1] + np.arange(columns) * b_pitches[1]
            pack_columns(flat_b, of_b, nothing, no_start, panels)
        else:
            of_b = starts[1] + np.arange(depth) * b_pitches[1]
            pack_rows(flat_b, of_b, columns, panels)
        each = np.arange(rows)
        multiply_panels(
            flat_a, starts[0] + each * a_pitches[1], rows, a_pitches[2], depth, panels,
            flat_c, starts[2] + each * c_pitches[1], columns, resume,
        )  # fmt: skip


def _products(a, a_pitches, b, b_pitches, by_columns, c, c_pitches, sizes, resume):
    """C (+)= A @ B for each sequence, read and written where they lie.

    Pitches are how far apart in memory sequences lie, then rows, then numbers of a row (1 but
    for A). `by_columns`: the rows of `b` are the columns of B. `sizes`: (rows, depth, columns)
    of each sequence.
    """
    sizes = np.array(sizes, np.intp)
    bounds = split(len(sizes), shares(2 * sizes.prod(1).sum()))
    run_parallel(
        _multiply,
        [
            (a, a_pitches, b, b_pitches, by_columns, c, c_pitches, sizes, resume, *bound)
            for bound in bounds
        ],
    )


def _pitches(a):
    """Of (T, B, N): between sequences, between steps, between the numbers of a step."""
    return a.shape[2], a.shape[1] * a.shape[2], 1


def dot_scores(query, keys, lengths):
    """The products of query (Tq, B, N) and keys (Tk, B, N) of one sequence -> (Tq, B, Tk).

    What lies past the lengths (B,) of the keys is arbitrary.
    """
    (queries, batch, size), most = query.shape, len(keys)
    scores = np.empty((queries, batch, most), query.dtype)
    _products(
        query, _pitches(query), keys, _pitches(keys), True, scores, _pitches(scores),
        [(queries, size, length) for length in lengths], False,
    )  # fmt: skip
    return scores


def weighted_sums(weights, keys, lengths):
    """weights (Tq, B, Tk) times keys (Tk, B, N) -> (Tq, B, N)."""
    queries, batch, _ = weights.shape
    sums = np.empty((queries, batch, keys.shape[2]), keys.dtype)
    _products(
        weights, _pitches(weights), keys, _pitches(keys), False, sums, _pitches(sums),
        [(queries, length, keys.shape[2]) for length in lengths], False,
    )  # fmt: skip
    return sums


def add_weighted_steps(weights, d, lengths, dkeys):
    """Add weights (Tq, B, Tk), transposed, times d (Tq, B, N) to dkeys (Tk, B, N)."""
    across, along, _ = _pitches(weights)
    _products(
        weights, (across, 1, along), d, _pitches(d), False, dkeys, _pitches(dkeys),
        [(length, len(weights), d.shape[2]) for length in lengths], True,
    )  # fmt: skip
