"""Attention: scores, their softmax along the keys of each sequence, and batched products.

Arrays are time-major: the steps of one sequence lie a whole batch apart, and are read where they
lie. Keys past a sequence's end are not read.
"""

from functools import cache

import numpy as np

from ..attention import score_gradient, score_term
from ..specialise import specialise
from .blocks import VECTORS
from .compiling import inlined, kernel
from .functions import REPLACEMENTS, exp
from .packing import pack_columns, pack_rows
from .product import multiply_panels
from .simd import REGISTER_BYTES, lanes_of, load, store, sum_lanes
from .threads import run_parallel, shares, split

_term, _gradient = (specialise(f, REPLACEMENTS, inlined) for f in (score_term, score_gradient))
_OPERATIONS = 25  # of a hyperbolic tangent or an exponential, about


@cache
def _softmax_kernel(dtype):
    lanes = lanes_of(dtype)

    @kernel(f"attention_softmax {dtype}")
    def run(scores, lengths, first, last):
        queries, _, keys = scores.shape
        row = np.empty((keys + lanes - 1) // lanes * lanes, scores.dtype)
        for i in range(queries):
            for b in range(first, last):
                length = lengths[b]
                padded = (length + lanes - 1) // lanes * lanes
                highest = scores[i, b, 0]
                for j in range(length):
                    row[j] = scores[i, b, j]
                    highest = max(highest, row[j])
                for j in range(length, padded):
                    row[j] = -np.inf  # weighs nothing
                total = load(row, 0) * 0
                for j in range(0, padded, lanes):
                    e = exp(load(row, j) - highest)
                    store(row, j, e)
                    total = e if j == 0 else total + e
                whole = sum_lanes(total)
                for j in range(keys):
                    scores[i, b, j] = row[j] / whole if j < length else 0

    return run


def attention_softmax(scores, lengths):
    """Turn scores (Tq, B, Tk) into weights, in place: 0 past the keys' lengths (B,)."""
    bounds = split(scores.shape[1], shares(_OPERATIONS * scores.size))
    run_parallel(_softmax_kernel(scores.dtype), [(scores, lengths, *bound) for bound in bounds])


@kernel("attention_softmax_backward")
def _softmax_backward(weights, lengths, dweights, first, last):
    for i in range(len(weights)):
        for b in range(first, last):
            along = weights[i, b, 0] * 0
            for j in range(lengths[b]):
                along += weights[i, b, j] * dweights[i, b, j]
            for j in range(weights.shape[2]):
                change = weights[i, b, j] * (dweights[i, b, j] - along)
                dweights[i, b, j] = change if j < lengths[b] else 0


def attention_softmax_backward(weights, lengths, dweights):
    """Turn gradients by the weights (Tq, B, Tk) into those by the scores, in place."""
    bounds = split(weights.shape[1], shares(8 * weights.size))
    run_parallel(_softmax_backward, [(weights, lengths, dweights, *bound) for bound in bounds])


@cache
def _additive_kernel(dtype):
    lanes = lanes_of(dtype)

    @kernel(f"additive_scores {dtype}")
    def run(query, keys, weight, lengths, first, last, scores):
        (queries, batch, size), q, k = query.shape, query.reshape(-1), keys.reshape(-1)
        for b in range(first, last):
            for i in range(queries):
                for j in range(lengths[b]):
                    at_q, at_k = (i * batch + b) * size, (j * batch + b) * size
                    total = load(weight, 0) * 0
                    for a in range(0, size, lanes):
                        total = total + _term(load(q, at_q + a), load(k, at_k + a), load(weight, a))
                    scores[i, b, j] = sum_lanes(total)

    return run


@cache
def _additive_backward_kernel(dtype):
    lanes = lanes_of(dtype)

    @kernel(f"additive_scores_backward {dtype}")
    def run(query, keys, weight, lengths, dscores, first, last, dquery, dkeys, dweight):
        (queries, batch, size), q, k = query.shape, query.reshape(-1), keys.reshape(-1)
        dq, dk = dquery.reshape(-1), dkeys.reshape(-1)
        for b in range(first, last):
            for i in range(queries):
                for j in range(lengths[b]):
                    at_q, at_k = (i * batch + b) * size, (j * batch + b) * size
                    dscore = dscores[i, b, j]
                    for a in range(0, size, lanes):
                        dsum, dv = _gradient(
                            load(q, at_q + a), load(k, at_k + a), load(weight, a), dscore
                        )
                        store(dq, at_q + a, load(dq, at_q + a) + dsum)
                        store(dk, at_k + a, load(dk, at_k + a) + dsum)
                        store(dweight, a, load(dweight, a) + dv)

    return run


def _padded(a):
    """`a` (..., A), a multiple of a vector's lanes wide, by zeros."""
    lanes = lanes_of(a.dtype)
    missing = -a.shape[-1] % lanes
    return np.pad(a, [(0, 0)] * (a.ndim - 1) + [(0, missing)]) if missing else a


def additive_scores(query, keys, weight, lengths):
    """weight (A,) · tanh(query (Tq, B, A) + keys (Tk, B, A)) -> (Tq, B, Tk).

    What lies past the lengths (B,) of the keys is arbitrary.
    """
    dtype, (queries, batch, size) = query.dtype, query.shape
    scores = np.empty((queries, batch, len(keys)), dtype)
    arguments = (*(_padded(a) for a in (query, keys, weight)), lengths)
    bounds = split(batch, shares(_OPERATIONS * scores.size * size))
    run_parallel(_additive_kernel(dtype), [(*arguments, *bound, scores) for bound in bounds])
    return scores


def additive_scores_backward(query, keys, weight, lengths, dscores):
    """The gradients by query, keys and weight, from those by the scores, 0 past the lengths."""
    dtype, (_, batch, size) = query.dtype, query.shape
    query, keys, weight = (_padded(a) for a in (query, keys, weight))
    dquery, dkeys = np.zeros_like(query), np.zeros_like(keys)
    bounds = split(batch, shares(_OPERATIONS * dscores.size * size))
    dweights = np.zeros((len(bounds), weight.size), dtype)
    run_parallel(
        _additive_backward_kernel(dtype),
        [
            (query, keys, weight, lengths, dscores, *bound, dquery, dkeys, dweight)
            for bound, dweight in zip(bounds, dweights)
        ],
    )
    return (
        np.ascontiguousarray(dquery[..., :size]),
        np.ascontiguousarray(dkeys[..., :size]),
        dweights.sum(0)[:size],
    )


@kernel("multiply_sequences")
def _multiply(
    a, a_pitches, b, b_pitches, by_columns, c, c_pitches, sizes, resume, first, last
):  # fmt: skip
    """C (+)= A @ B of each of the sequences first .. last - 1; see `_products`."""
    flat_a, flat_b, flat_c = a.reshape(-1), b.reshape(-1), c.reshape(-1)
    across = VECTORS * (REGISTER_BYTES // a.itemsize)
    nothing, no_start = np.empty(0, a.dtype), np.empty(0, np.intp)
    for n in range(first, last):
        rows, depth, columns = sizes[n]
        panels = np.empty(((columns + across - 1) // across, depth + 1, across), a.dtype)
        if by_columns:
            starts = n * b_pitches[0] + np.arange(columns) * b_pitches[1]
            pack_columns(flat_b, starts, nothing, no_start, panels)
        else:
            starts = n * b_pitches[0] + np.arange(depth) * b_pitches[1]
            pack_rows(flat_b, starts, columns, panels)
        each = np.arange(rows)
        multiply_panels(
            flat_a, n * a_pitches[0] + each * a_pitches[1], rows, a_pitches[2], depth, panels,
            flat_c, n * c_pitches[0] + each * c_pitches[1], columns, resume,
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
