"""Loss functions with their gradients, fused."""

from functools import cache

import numpy as np

from .compiling import kernel
from .exponentials import exponentials
from .simd import lanes_of, load, store_part
from .threads import OF_A_FUNCTION, run_parallel, shares, split
from .views import flattened
from .workspace import empty


@cache
def _softmax_kernel(dtype):
    lanes, exponentiate = lanes_of(dtype), exponentials(dtype)

    @kernel(f"softmax_cross_entropy {dtype}")
    def rows(logits, targets, ignored, scale, first, last, dlogits, losses):
        classes = logits.shape[1]
        padded = (classes + lanes - 1) // lanes * lanes
        row = np.empty(padded, logits.dtype)
        gradient = flattened(dlogits)
        for n in range(first, last):
            if targets[n] == ignored:
                for k in range(classes):
                    dlogits[n, k] = 0
                losses[n] = 0
                continue
            largest = logits[n, 0]
            for k in range(classes):
                row[k] = logits[n, k]
                largest = max(largest, row[k])
            whole = exponentiate(row, classes, largest)
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
    dlogits, losses = empty(logits.shape, logits.dtype), np.empty(len(logits))
    run_parallel(
        _softmax_kernel(logits.dtype),
        [
            (logits, targets, ignored, scale, first, last, dlogits, losses)
            for first, last in split(len(logits), shares(OF_A_FUNCTION * logits.size))
        ],
    )
    return np.array(losses.sum() * scale, logits.dtype), dlogits
