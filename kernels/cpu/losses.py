"""Loss functions with their gradients, fused."""

from functools import cache

import numpy as np

from .compiling import kernel
from .functions import exp
from .simd import lanes_of, load, store, store_part, sum_lanes
from .threads import run_parallel, shares, split


@cache
def _softmax_kernel(dtype):
    lanes = lanes_of(dtype)

    @kernel(f"softmax_cross_entropy {dtype}")
    def rows(logits, targets, ignored, scale, first, last, dlogits, losses):
        classes = logits.shape[1]
        padded = (classes + lanes - 1) // lanes * lanes
        row = np.empty(padded, logits.dtype)
        gradient = dlogits.reshape(-1)
        for n in range(first, last):
            if targets[n] == ignored:
                dlogits[n] = 0
                losses[n] = 0
                continue
            row[:classes] = logits[n]
            row[classes:] = -np.inf  # weighs nothing
            largest = logits[n, 0]
            for k in range(1, classes):
                largest = max(largest, logits[n, k])
            total = load(row, 0) * 0
            for k in range(0, padded, lanes):
                e = exp(load(row, k) - largest)
                store(row, k, e)
                total = e if k == 0 else total + e
            whole = sum_lanes(total)
            losses[n] = np.log(np.float64(whole)) + largest - logits[n, targets[n]]
            share = scale / whole
            for k in range(0, classes, lanes):
                store_part(gradient, n * classes + k, load(row, k) * share, min(lanes, classes - k))
            dlogits[n, targets[n]] -= scale

    return rows


def softmax_cross_entropy(logits, targets, ignored):
    """logits (N, V), targets (N,) -> mean loss (0-d), dlogits. NaN if all targets are ignored."""
    count = int(np.count_nonzero(targets != ignored))
    scale = 1 / count if count else np.nan
    dlogits, losses = np.empty_like(logits), np.empty(len(logits))
    run_parallel(
        _softmax_kernel(logits.dtype),
        [
            (logits, targets, ignored, scale, first, last, dlogits, losses)
            for first, last in split(len(logits), shares(20 * logits.size))
        ],
    )
    return np.array(losses.sum() * scale, logits.dtype), dlogits
