"""Attention: scores, their softmax along the keys of each sequence, and batched products.

Where keys are longer than a sequence they must be zero: the products, which are cuBLAS's, read
them all.
"""

import math
from functools import cache

import cupy

from ..attention import score_gradient, score_term
from ..specialise import specialise
from .device import ELEMENTS, INTEGER, INTEGERS, cuda, floats, inlined
from .functions import REPLACEMENTS
from .launching import Kernel
from .reductions import WARP, warp_max, warp_sum

WARPS = 4
THREADS = 128

_term, _gradient = (specialise(f, REPLACEMENTS, inlined) for f in (score_term, score_gradient))


@cache
def softmax_kernel(dtype):
    """The kernel of `attention_softmax`: a warp a row."""
    element = ELEMENTS[dtype]

    def run(rows, batch, keys, lengths, scores):
        row, lane = cuda.blockIdx.x * WARPS + cuda.threadIdx.y, cuda.threadIdx.x
        if row >= rows:
            return
        first, length = row * keys, lengths[row % batch]
        highest = scores[first]
        for j in range(lane, length, WARP):
            highest = max(highest, scores[first + j])
        highest = warp_max(highest)
        total = element(0)
        for j in range(lane, length, WARP):
            total += math.exp(scores[first + j] - highest)
        total = warp_sum(total)
        for j in range(lane, keys, WARP):
            inside = j < length
            scores[first + j] = (
                math.exp(scores[first + j] - highest) / total if inside else (element(0))
            )

    f, i = floats(dtype), INTEGER
    return Kernel(f"attention_softmax {dtype}", run, (i, i, i, INTEGERS, f))


@cache
def softmax_backward_kernel(dtype):
    """The kernel of `attention_softmax_backward`: a warp a row."""
    element = ELEMENTS[dtype]

    def run(rows, keys, weights, dweights):
        row, lane = cuda.blockIdx.x * WARPS + cuda.threadIdx.y, cuda.threadIdx.x
        if row >= rows:
            return
        first, along = row * keys, element(0)
        for j in range(lane, keys, WARP):
            along += weights[first + j] * dweights[first + j]
        along = warp_sum(along)
        for j in range(lane, keys, WARP):
            dweights[first + j] = weights[first + j] * (dweights[first + j] - along)

    f, i = floats(dtype), INTEGER
    return Kernel(f"attention_softmax_backward {dtype}", run, (i, i, f, f))


@cache
def additive_kernel(dtype):
    """The kernel of `additive_scores`: a warp a score."""
    element = ELEMENTS[dtype]

    def run(count, batch, most, size, query, keys, weight, lengths, scores):
        n, lane = cuda.blockIdx.x * WARPS + cuda.threadIdx.y, cuda.threadIdx.x
        row, j = n // most, n % most
        b = row % batch
        if n >= count or j >= lengths[b]:
            return
        total = element(0)
        for a in range(lane, size, WARP):
            total += _term(query[row * size + a], keys[(j * batch + b) * size + a], weight[a])
        total = warp_sum(total)
        if lane == 0:
            scores[n] = total

    f, i = floats(dtype), INTEGER
    return Kernel(f"additive_scores {dtype}", run, (i, i, i, i, f, f, f, INTEGERS, f))


@cache
def additive_query_kernel(dtype):
    """The kernel for the gradients by the query, a thread each, and its shares of the weight's."""
    element = ELEMENTS[dtype]

    def run(batch, most, size, query, keys, weight, lengths, dscores, dquery, shares):
        row, a = cuda.blockIdx.x, cuda.blockIdx.y * THREADS + cuda.threadIdx.x
        b = row % batch
        if a >= size:
            return
        q, v = query[row * size + a], weight[a]
        dq, dv = element(0), element(0)
        for j in range(lengths[b]):
            of_sum, of_weight = _gradient(
                q, keys[(j * batch + b) * size + a], v, dscores[row * most + j]
            )
            dq += of_sum
            dv += of_weight
        dquery[row * size + a] = dq
        shares[row * size + a] = dv

    f, i = floats(dtype), INTEGER
    signature = (i, i, i, f, f, f, INTEGERS, f, f, f)
    return Kernel(f"additive_scores_by_query {dtype}", run, signature)


@cache
def additive_keys_kernel(dtype):
    """The kernel for the gradients by the keys, a thread each."""
    element = ELEMENTS[dtype]

    def run(queries, batch, most, size, query, keys, weight, lengths, dscores, dkeys):
        row, a = cuda.blockIdx.x, cuda.blockIdx.y * THREADS + cuda.threadIdx.x
        j, b = row // batch, row % batch
        if a >= size:
            return
        k, v, dk = keys[row * size + a], weight[a], element(0)
        if j < lengths[b]:
            for i in range(queries):
                at = i * batch + b
                of_sum, _ = _gradient(query[at * size + a], k, v, dscores[at * most + j])
                dk += of_sum
        dkeys[row * size + a] = dk

    f, i = floats(dtype), INTEGER
    signature = (i, i, i, i, f, f, f, INTEGERS, f, f)
    return Kernel(f"additive_scores_by_keys {dtype}", run, signature)


def attention_softmax(scores, lengths):
    """Turn scores (Tq, B, Tk) into weights, in place: 0 past the keys' lengths (B,)."""
    queries, batch, keys = scores.shape
    rows = queries * batch
    softmax_kernel(scores.dtype)(
        (-(-rows // WARPS), 1, 1), (WARP, WARPS, 1), rows, batch, keys, lengths, scores
    )


def attention_softmax_backward(weights, lengths, dweights):
    """Turn gradients by the weights (Tq, B, Tk) into those by the scores, in place."""
    queries, batch, keys = weights.shape
    rows = queries * batch
    softmax_backward_kernel(weights.dtype)(
        (-(-rows // WARPS), 1, 1), (WARP, WARPS, 1), rows, keys, weights, dweights
    )


def additive_scores(query, keys, weight, lengths):
    """weight (A,) · tanh(query (Tq, B, A) + keys (Tk, B, A)) -> (Tq, B, Tk).

    What lies past the lengths (B,) of the keys is arbitrary.
    """
    dtype, (queries, batch, size), most = query.dtype, query.shape, len(keys)
    scores = cupy.empty((queries, batch, most), dtype)
    additive_kernel(dtype)(
        (-(-scores.size // WARPS), 1, 1), (WARP, WARPS, 1),
        scores.size, batch, most, size, query, keys, weight, lengths, scores,
    )  # fmt: skip
    return scores


def additive_scores_backward(query, keys, weight, lengths, dscores):
    """The gradients by query, keys and weight, from those by the scores."""
    dtype, (queries, batch, size), most = query.dtype, query.shape, len(keys)
    dquery, dkeys, shares = (cupy.empty_like(a) for a in (query, keys, query))
    blocks = -(-size // THREADS)
    additive_query_kernel(dtype)(
        (queries * batch, blocks, 1), (THREADS, 1, 1),
        batch, most, size, query, keys, weight, lengths, dscores, dquery, shares,
    )  # fmt: skip
    additive_keys_kernel(dtype)(
        (most * batch, blocks, 1), (THREADS, 1, 1),
        queries, batch, most, size, query, keys, weight, lengths, dscores, dkeys,
    )  # fmt: skip
    return dquery, dkeys, shares.reshape(-1, size).sum(0)


def _by_sequence(a):
    return a.swapaxes(0, 1)


def _by_step(product):
    return cupy.ascontiguousarray(product.swapaxes(0, 1))


def dot_scores(query, keys, lengths):
    """The products of query (Tq, B, N) and keys (Tk, B, N) of one sequence -> (Tq, B, Tk)."""
    return _by_step(cupy.matmul(_by_sequence(query), keys.transpose(1, 2, 0)))


def weighted_sums(weights, keys, lengths):
    """weights (Tq, B, Tk) times keys (Tk, B, N) -> (Tq, B, N)."""
    return _by_step(cupy.matmul(_by_sequence(weights), _by_sequence(keys)))


def add_weighted_steps(weights, d, lengths, dkeys):
    """Add weights (Tq, B, Tk), transposed, times d (Tq, B, N) to dkeys (Tk, B, N)."""
    dkeys += cupy.matmul(weights.transpose(1, 2, 0), _by_sequence(d)).swapaxes(0, 1)
