"""Attention: additive scores, and the softmax of scores along the keys of each sequence.

Arrays are time-major: the steps of one sequence lie a whole batch apart, and are read where they
lie. Keys past a sequence's end are not read.
"""

from functools import cache

import numpy as np

from ..attention import score_gradient, score_term
from ..specialise import specialise
from .compiling import inlined, kernel
from .exponentials import exponentials
from .functions import REPLACEMENTS
from .simd import lanes_of, load, store, sum_lanes
from .threads import OF_A_FUNCTION, run_parallel, shares, split
from .views import flattened
from .workspace import empty

_term, _gradient = (specialise(f, REPLACEMENTS, inlined) for f in (score_term, score_gradient))


@cache
def _softmax_kernel(dtype):
    lanes, exponentiate = lanes_of(dtype), exponentials(dtype)

    @kernel(f"attention_softmax {dtype}")
    def run(scores, lengths, first, last):
        queries, _, keys = scores.shape
        row = np.empty((keys + lanes - 1) // lanes * lanes, scores.dtype)
        for i in range(queries):
            for b in range(first, last):
                length = lengths[b]
                highest = scores[i, b, 0]
                for j in range(length):
                    row[j] = scores[i, b, j]
                    highest = max(highest, row[j])
                whole = exponentiate(row, length, highest)
                for j in range(keys):
                    scores[i, b, j] = row[j] / whole if j < length else 0

    return run


def attention_softmax(scores, lengths):
    """Turn scores (Tq, B, Tk) into weights, in place: 0 past the keys' lengths (B,)."""
    bounds = split(scores.shape[1], shares(OF_A_FUNCTION * scores.size))
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
    bounds = split(weights.shape[1], shares(50 * weights.size))
    run_parallel(_softmax_backward, [(weights, lengths, dweights, *bound) for bound in bounds])


@cache
def _additive_kernel(dtype):
    lanes = lanes_of(dtype)

    @kernel(f"additive_scores {dtype}")
    def run(query, keys, weight, lengths, first, last, scores):
        (queries, batch, size), q, k = query.shape, flattened(query), flattened(keys)
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
        (queries, batch, size), q, k = query.shape, flattened(query), flattened(keys)
        dq, dk = flattened(dquery), flattened(dkeys)
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
    scores = empty((queries, batch, len(keys)), dtype)
    arguments = (*(_padded(a) for a in (query, keys, weight)), lengths)
    bounds = split(batch, shares(OF_A_FUNCTION * scores.size * size))
    run_parallel(_additive_kernel(dtype), [(*arguments, *bound, scores) for bound in bounds])
    return scores


def additive_scores_backward(query, keys, weight, lengths, dscores):
    """The gradients by query, keys and weight, from those by the scores, 0 past the lengths."""
    dtype, (_, batch, size) = query.dtype, query.shape
    query, keys, weight = (_padded(a) for a in (query, keys, weight))
    dquery, dkeys = np.zeros_like(query), np.zeros_like(keys)
    bounds = split(batch, shares(OF_A_FUNCTION * dscores.size * size))
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
