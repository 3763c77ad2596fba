"""Connectionist temporal classification: the loss and its gradient.

Only what must go from step to step does so, in a block for each sequence; the softmax before
it, and after it the states' odds and the gradient, have a warp for each step of each sequence.
The two logarithms of a sequence's states of a step stand side by side: S + 1 blanks, and as many
labels, of which the last does not exist.
"""

import math
from functools import cache

import cupy
import numpy as np

from ..alignments import (
    IMPOSSIBLE,
    NONE,
    advance,
    log_add,
    retreat_to_blank,
    retreat_to_label,
)
from ..specialise import specialise
from .device import ELEMENTS, INTEGER, INTEGERS, cuda, floats, inlined
from .functions import REPLACEMENTS, exp
from .launching import Kernel
from .reductions import WARP, warp_max, warp_sum

WARPS = 4
THREADS = WARP * WARPS
PLACES = 2 * WARPS  # see `_block_max`

_log_add, _advance, _to_blank, _to_label = (
    specialise(f, REPLACEMENTS, inlined)
    for f in (log_add, advance, retreat_to_blank, retreat_to_label)
)


@cache
def normaliser_kernel(dtype):
    """The kernel that finds each row's largest logit, and the logarithm of its softmax's sum."""

    def run(rows, classes, logits, largest, log_totals):
        row, lane = cuda.blockIdx.x * WARPS + cuda.threadIdx.y, cuda.threadIdx.x
        if row >= rows:
            return
        first = row * classes
        highest = logits[first]
        for k in range(lane, classes, WARP):
            highest = max(highest, logits[first + k])
        highest = warp_max(highest)
        total = highest - highest
        for k in range(lane, classes, WARP):
            total += math.exp(logits[first + k] - highest)
        total = warp_sum(total)
        if lane == 0:
            largest[row] = highest
            log_totals[row] = math.log(total)

    f, i = floats(dtype), INTEGER
    return Kernel(f"ctc_normalisers {dtype}", run, (i, i, f, f, f))


@cache
def _emission(dtype):
    """A function: the log-probability of a class at a row of the logits, NaN for unknown ones."""
    element = ELEMENTS[dtype]

    @inlined
    def emission(logits, largest, log_totals, classes, row, label):
        if label < 0 or label >= classes:
            return element(np.nan)
        emitted = (logits[row * classes + label] - largest[row]) - log_totals[row]
        # A logit of -inf is an impossible class. The comparison the other way would hide NaN.
        return element(NONE) if emitted < element(NONE) else emitted

    return emission


@cache
def _block_max(dtype):
    """Functions that leave the largest number of each warp, and read the largest of all, which
    is 0 if none is possible. Two places in turn, so that one barrier a step is enough."""
    element = ELEMENTS[dtype]

    @inlined
    def leave(place, step, value):
        value = warp_max(value)
        if cuda.threadIdx.x % WARP == 0:
            place[step % 2 * WARPS + cuda.threadIdx.x // WARP] = value

    @inlined
    def read(place, step):
        value = place[step % 2 * WARPS]
        for warp in range(1, WARPS):
            value = max(value, place[step % 2 * WARPS + warp])
        return value if value > element(IMPOSSIBLE) else element(0)

    return leave, read


@cache
def forward_kernel(dtype):
    """The kernel that fills `alphas` (B, T, 2, W) and `losses` (B,)."""
    element, emission = ELEMENTS[dtype], _emission(dtype)
    leave_max, read_max = _block_max(dtype)

    def run(
        batch, classes, pitch, most, logits, largest, log_totals, targets, starts, input_lengths,
        target_lengths, blank, alphas, losses,
    ):  # fmt: skip
        place = cuda.shared.array(PLACES, element)
        b, thread = cuda.blockIdx.x, cuda.threadIdx.x
        steps, count, start = input_lengths[b], target_lengths[b], starts[b]
        none, zero = element(NONE), element(0)
        total, lost = zero, zero  # the sum of the shifts, and what rounding took from it
        for t in range(steps):
            row, now = t * batch + b, (b * most + t) * 2 * pitch
            before = now - 2 * pitch
            of_blank = emission(logits, largest, log_totals, classes, row, blank)
            shift = zero
            if t:
                shift = read_max(place, t - 1)
                term = shift - lost
                grown = total + term
                lost, total = (grown - total) - term, grown
            highest = none
            for u in range(thread, count + 1, THREADS):
                label = none
                if u < count:
                    label = emission(logits, largest, log_totals, classes, row, targets[start + u])
                if t == 0:
                    from_blank = zero if u == 0 else none
                    from_label = from_blank
                else:
                    following, may_skip = none, False
                    if u:
                        following = alphas[before + pitch + u - 1] - shift
                    if u and u < count:
                        may_skip = targets[start + u] != targets[start + u - 1]
                    from_blank, from_label = _advance(
                        alphas[before + u] - shift,
                        alphas[before + pitch + u] - shift,
                        following,
                        may_skip,
                    )
                a, c = from_blank + of_blank, from_label + label
                alphas[now + u] = a
                alphas[now + pitch + u] = c
                highest = max(highest, max(a, c))
            leave_max(place, t, highest)
            cuda.syncthreads()
        if thread == 0:
            end = (b * most + steps - 1) * 2 * pitch + count
            last = alphas[end]
            if count:
                last = _log_add(last, alphas[end + pitch - 1])
            losses[b] = element(np.inf) if last < element(IMPOSSIBLE) else -(total + last)

    f, i, n = floats(dtype), INTEGER, INTEGERS
    return Kernel(f"ctc_forward {dtype}", run, (i, i, i, i, f, f, f, n, n, n, n, i, f, f))


@cache
def backward_kernel(dtype):
    """The kernel that adds to each alpha the logarithm of what may follow its state."""
    element, emission = ELEMENTS[dtype], _emission(dtype)
    leave_max, read_max = _block_max(dtype)

    def run(
        batch, classes, pitch, most, logits, largest, log_totals, targets, starts, input_lengths,
        target_lengths, blank, alphas, after,
    ):  # fmt: skip
        place = cuda.shared.array(PLACES, element)
        b, thread = cuda.blockIdx.x, cuda.threadIdx.x
        steps, count, start = input_lengths[b], target_lengths[b], starts[b]
        none, zero = element(NONE), element(0)
        for t in range(steps - 1, -1, -1):
            row, now = t * batch + b, (b * most + t) * 2 * pitch
            # What follows, with what it emits: written and read in two places in turn.
            mine, others = (b * 2 + t % 2) * 2 * pitch, (b * 2 + (t + 1) % 2) * 2 * pitch
            of_blank = emission(logits, largest, log_totals, classes, row, blank)
            shift = zero
            if t < steps - 1:
                shift = read_max(place, t + 1)
            highest = none
            for u in range(thread, count + 1, THREADS):
                emitted = none
                if u < count:
                    emitted = emission(
                        logits, largest, log_totals, classes, row, targets[start + u]
                    )
                if t == steps - 1:
                    of_either = zero if u == count else none
                    of_label = zero if u == count - 1 else none
                else:
                    label = after[others + pitch + u] - shift
                    of_either = _to_blank(after[others + u] - shift, label)
                    of_label = none
                    if u < count:
                        blank_after = after[others + u + 1] - shift
                        label_after = after[others + pitch + u + 1] - shift
                        may_skip = False
                        if u + 1 < count:
                            may_skip = targets[start + u] != targets[start + u + 1]
                        of_label = _to_label(
                            label, blank_after, _to_blank(blank_after, label_after), may_skip
                        )
                alphas[now + u] += of_either
                alphas[now + pitch + u] += of_label
                a, c = of_either + of_blank, of_label + emitted
                after[mine + u] = a
                after[mine + pitch + u] = c
                highest = max(highest, max(a, c))
            leave_max(place, t, highest)
            cuda.syncthreads()

    f, i, n = floats(dtype), INTEGER, INTEGERS
    return Kernel(f"ctc_backward {dtype}", run, (i, i, i, i, f, f, f, n, n, n, n, i, f, f))


@cache
def gradient_kernel(dtype):
    """The kernel that writes dlogits: the softmax less the odds of the states of each class.

    `order` (B, W) sorts a sequence's labels: equal ones are summed in one order always.
    """
    element = ELEMENTS[dtype]

    def run(
        rows, batch, classes, pitch, most, logits, largest, log_totals, targets, starts,
        input_lengths, target_lengths, blank, order, weights, of_impossible, alphas, losses,
        dlogits,
    ):  # fmt: skip
        row, lane = cuda.blockIdx.x * WARPS + cuda.threadIdx.y, cuda.threadIdx.x
        if row >= rows:
            return
        t, b = row // batch, row % batch
        first, zero = row * classes, element(0)
        past, impossible = t >= input_lengths[b], losses[b] == element(np.inf)
        if past or impossible:
            for k in range(lane, classes, WARP):
                dlogits[first + k] = zero if past else of_impossible
            return
        weight = weights[b]
        for k in range(lane, classes, WARP):
            shifted = (logits[first + k] - largest[row]) - log_totals[row]
            dlogits[first + k] = weight * exp(shifted)
        count, start, now = target_lengths[b], starts[b], (b * most + t) * 2 * pitch
        highest = element(2 * NONE)
        for u in range(lane, count + 1, WARP):
            highest = max(highest, max(alphas[now + u], alphas[now + pitch + u]))
        highest = warp_max(highest)
        blanks, labels = zero, zero
        for u in range(lane, count + 1, WARP):
            blanks += exp(alphas[now + u] - highest)
            labels += exp(alphas[now + pitch + u] - highest)
        blanks = warp_sum(blanks)
        share = weight / (blanks + warp_sum(labels))
        cuda.syncwarp()
        if lane == 0:
            dlogits[first + blank] -= blanks * share
        for n in range(lane, count, WARP):
            label = targets[start + order[b * pitch + n]]
            known = 0 <= label and label < classes
            if known and (n == 0 or targets[start + order[b * pitch + n - 1]] != label):
                total, m = zero, n
                while m < count and targets[start + order[b * pitch + m]] == label:
                    total += exp(alphas[now + pitch + order[b * pitch + m]] - highest)
                    m += 1
                dlogits[first + label] -= total * share

    f, i, n, e = floats(dtype), INTEGER, INTEGERS, ELEMENTS[dtype]
    signature = (i, i, i, i, i, f, f, f, n, n, n, n, i, n, f, e, f, f, f)
    return Kernel(f"ctc_gradient {dtype}", run, signature)


def _sorted_places(targets, starts, lengths, pitch):
    """For each sequence the places of its labels in ascending order of label, (B, W)."""
    place = cupy.arange(pitch)
    of_all = cupy.minimum(starts[:, None] + place, max(targets.size - 1, 0))
    inside = place < lengths[:, None]
    padded = cupy.where(inside, targets[of_all] if targets.size else 0, np.iinfo(np.int64).max)
    return cupy.argsort(padded, axis=1).astype(np.int64, copy=False)


def ctc_loss(logits, targets, starts, input_lengths, target_lengths, blank, weights, of_impossible):
    """The loss of each sequence and the gradient of their weighted sum.

    logits (T, B, V); targets (N,), on the device: those of sequence b from starts[b] on; the
    lengths, starts and weights (B,) on the host; `of_impossible` is the gradient where the
    labels cannot be had in so few steps.
    Returns losses (B,), infinite there, and dlogits (T, B, V).
    """
    dtype, (most, batch, classes) = logits.dtype, logits.shape
    rows, pitch = most * batch, int(target_lengths.max()) + 1
    starts, input_lengths, target_lengths = (
        cupy.asarray(a, dtype=np.int64) for a in (starts, input_lengths, target_lengths)
    )
    largest, log_totals = cupy.empty(rows, dtype), cupy.empty(rows, dtype)
    alphas = cupy.empty((batch, most, 2, pitch), dtype)
    after, losses = cupy.empty((batch, 2, 2, pitch), dtype), cupy.empty(batch, dtype)
    dlogits = cupy.empty_like(logits)
    a_warp_a_row = (-(-rows // WARPS), 1, 1), (WARP, WARPS, 1)
    normaliser_kernel(dtype)(*a_warp_a_row, rows, classes, logits, largest, log_totals)
    problem = (
        logits, largest, log_totals, targets, starts, input_lengths, target_lengths, blank,
    )  # fmt: skip
    sizes, block = (batch, classes, pitch, most), (THREADS, 1, 1)
    forward_kernel(dtype)((batch, 1, 1), block, *sizes, *problem, alphas, losses)
    backward_kernel(dtype)((batch, 1, 1), block, *sizes, *problem, alphas, after)
    gradient_kernel(dtype)(
        *a_warp_a_row, rows, *sizes, *problem,
        _sorted_places(targets, starts, target_lengths, pitch), cupy.asarray(weights, dtype),
        dtype.type(of_impossible), alphas, losses, dlogits,
    )  # fmt: skip
    return losses, dlogits
