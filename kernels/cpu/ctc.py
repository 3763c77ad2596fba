"""Connectionist temporal classification: the loss and its gradient, a sequence a thread."""

from functools import cache

import numpy as np

from ..alignments import IMPOSSIBLE, NONE, advance, retreat_to_blank, retreat_to_label
from ..specialise import specialise
from .compiling import inlined, kernel
from .exponentials import exponentials
from .functions import REPLACEMENTS, exp
from .simd import lanes_of, load, select, store, store_part, sum_lanes
from .threads import OF_A_FUNCTION, run_parallel, shares, split
from .views import flattened
from .workspace import empty

_advance, _to_blank, _to_label = (
    specialise(f, REPLACEMENTS, inlined) for f in (advance, retreat_to_blank, retreat_to_label)
)


@inlined
def _larger(a, b):
    return select(a > b, a, b)


@cache
def _largest(dtype):
    """A function (rows, at, pitch, width): the largest number of two rows, 0 if none is possible.

    `rows` has them from `at` and `at + pitch` on; `width` is a multiple of a vector's lanes.
    """
    lanes = lanes_of(dtype)

    @inlined
    def largest(rows, at, pitch, width):
        found = _larger(load(rows, at), load(rows, at + pitch))
        for i in range(at + lanes, at + width, lanes):
            found = _larger(found, _larger(load(rows, i), load(rows, i + pitch)))
        each = np.empty(lanes, rows.dtype)
        store(each, 0, found)
        highest = each[0]
        for i in range(1, lanes):
            highest = max(highest, each[i])
        return highest if highest > IMPOSSIBLE else highest * 0

    return largest


@cache
def _emit(dtype):
    """A function that writes the softmax of one sequence's logits, times a weight, into dlogits,
    and what each step emits: the log-probability of the blank and of each label."""
    lanes, exponentiate = lanes_of(dtype), exponentials(dtype)

    @inlined
    def emit(logits, b, steps, labels, blank, weight, dlogits, of_blank, of_labels):
        _, batch, classes = logits.shape
        padded = (classes + lanes - 1) // lanes * lanes
        row, gradient = np.empty(padded, logits.dtype), flattened(dlogits)
        for t in range(steps):
            largest = logits[t, b, 0]
            for k in range(classes):
                row[k] = logits[t, b, k]
                largest = max(largest, row[k])
            whole = exponentiate(row, classes, largest)
            first = (t * batch + b) * classes
            for k in range(0, classes, lanes):
                some = min(lanes, classes - k)
                store_part(gradient, first + k, load(row, k) * (weight / whole), some)
            log_whole = np.log(whole)
            # A logit of -inf is an impossible class. Comparisons the other way would hide NaN.
            emitted = (logits[t, b, blank] - largest) - log_whole
            of_blank[t] = NONE if emitted < NONE else emitted
            for u in range(labels.size):
                emitted = (logits[t, b, labels[u]] - largest) - log_whole
                of_labels[t, lanes + u] = NONE if emitted < NONE else emitted

    return emit


@cache
def _forward(dtype):
    """A function that fills `alphas` (T, 2, W) and gives the log-probability of the labels."""
    lanes, largest = lanes_of(dtype), _largest(dtype)

    @inlined
    def forward(count, skips, of_blank, of_labels, alphas):
        steps, _, pitch = alphas.shape
        flat, emitted = flattened(alphas), flattened(of_labels)
        alphas[0] = NONE
        alphas[0, 0, lanes] = of_blank[0]
        if count:
            alphas[0, 1, lanes] = of_labels[0, lanes]
        log_probability, width = 0.0, pitch - 2 * lanes
        for t in range(1, steps):
            alphas[t] = NONE
            before, now = 2 * (t - 1) * pitch + lanes, 2 * t * pitch + lanes
            shift = largest(flat, before, pitch, width)
            log_probability += shift
            for i in range(0, width, lanes):
                blank, label = _advance(
                    load(flat, before + i) - shift,
                    load(flat, before + pitch + i) - shift,
                    load(flat, before + pitch + i - 1) - shift,
                    load(skips, lanes + i) > 0,
                )
                store(flat, now + i, blank + of_blank[t])
                store(flat, now + pitch + i, label + load(emitted, t * pitch + lanes + i))
        last = np.float64(alphas[steps - 1, 0, lanes + count])
        if count:
            label = np.float64(alphas[steps - 1, 1, lanes + count - 1])
            last = max(last, label) + np.log1p(np.exp(-abs(last - label)))
        return log_probability + last if not last < IMPOSSIBLE else -np.inf

    return forward


@cache
def _backward(dtype):
    """A function that subtracts the states' odds, times a weight, from dlogits."""
    lanes, largest = lanes_of(dtype), _largest(dtype)

    @inlined
    def backward(b, labels, blank, weight, skips, of_blank, of_labels, alphas, dlogits):
        steps, _, pitch = alphas.shape
        count, width, at = labels.size, pitch - 2 * lanes, lanes
        flat, emitted = flattened(alphas), flattened(of_labels)
        # Rows of blanks and labels: what follows a state, that with what it emits, its odds.
        betas = np.full(2 * pitch, NONE, alphas.dtype)
        after, odds = betas.copy(), betas.copy()
        betas[at + count] = 0
        if count:
            betas[pitch + at + count - 1] = 0
        for t in range(steps - 1, -1, -1):
            row = 2 * t * pitch
            for i in range(at, at + width, lanes):
                for j in (i, pitch + i):
                    store(odds, j, load(flat, row + j) + load(betas, j))
            highest = largest(odds, at, pitch, width)
            of_all = load(odds, at) * 0
            blanks = of_all
            for i in range(at, at + width, lanes):
                e = exp(load(odds, i) - highest)
                f = exp(load(odds, pitch + i) - highest)
                store(odds, pitch + i, f)
                blanks, of_all = blanks + e, of_all + (e + f)
            share = weight / sum_lanes(of_all)
            dlogits[t, b, blank] -= sum_lanes(blanks) * share
            for u in range(count):
                dlogits[t, b, labels[u]] -= odds[pitch + at + u] * share
            if t == 0:
                break
            for i in range(at, at + width, lanes):
                store(after, i, load(betas, i) + of_blank[t])
                label = load(betas, pitch + i) + load(emitted, t * pitch + i)
                store(after, pitch + i, label)
            shift = largest(after, at, pitch, width)
            for i in range(at, at + width, lanes):
                either = _to_blank(load(after, i) - shift, load(after, pitch + i) - shift)
                store(betas, i, either)
            for i in range(at, at + width, lanes):
                label = _to_label(
                    load(after, pitch + i) - shift,
                    load(after, i + 1) - shift,
                    load(betas, i + 1),
                    load(skips, i + 1) > 0,
                )
                store(betas, pitch + i, label)

    return backward


@cache
def _kernel(dtype):
    lanes = lanes_of(dtype)
    emit, forward, backward = _emit(dtype), _forward(dtype), _backward(dtype)

    @kernel(f"ctc {dtype}")
    def run(
        logits, targets, starts, input_lengths, target_lengths, blank, weights, of_impossible,
        first, last, losses, dlogits,
    ):  # fmt: skip
        for b in range(first, last):
            steps, count = input_lengths[b], target_lengths[b]
            labels, weight = targets[starts[b] : starts[b] + count], weights[b]
            # Rows have a vector more at both ends: neighbours are read without a question.
            pitch = (count + lanes) // lanes * lanes + 2 * lanes
            skips = np.zeros(pitch, logits.dtype)
            for u in range(1, count):
                skips[lanes + u] = labels[u] != labels[u - 1]
            of_blank = np.empty(steps, logits.dtype)
            of_labels = np.full((steps, pitch), NONE, logits.dtype)
            alphas = np.empty((steps, 2, pitch), logits.dtype)
            emit(logits, b, steps, labels, blank, weight, dlogits, of_blank, of_labels)
            dlogits[steps:, b] = 0
            losses[b] = -forward(count, skips, of_blank, of_labels, alphas)
            if losses[b] == np.inf:
                dlogits[:steps, b] = of_impossible
            else:
                backward(b, labels, blank, weight, skips, of_blank, of_labels, alphas, dlogits)

    return run


def ctc_loss(logits, targets, starts, input_lengths, target_lengths, blank, weights, of_impossible):
    """The loss of each sequence and the gradient of their weighted sum.

    logits (T, B, V); targets (N,): those of sequence b from starts[b] on; weights (B,);
    `of_impossible` is the gradient where the labels cannot be had in so few steps.
    Returns losses (B,), infinite there, and dlogits (T, B, V).
    """
    dlogits, losses = empty(logits.shape, logits.dtype), np.empty(logits.shape[1], logits.dtype)
    arguments = (
        logits, targets, starts, input_lengths, target_lengths, blank,
        weights.astype(logits.dtype), logits.dtype.type(of_impossible),
    )  # fmt: skip
    bounds = split(len(losses), shares(OF_A_FUNCTION * logits.size))
    run_parallel(_kernel(logits.dtype), [(*arguments, *bound, losses, dlogits) for bound in bounds])
    return losses, dlogits
