"""Maps over whole arrays, sums of squares, dropout."""

from functools import cache

import numpy as np

from ..random import random_24_bits
from ..specialise import specialise, text_of
from .compiling import inlined, kernel
from .functions import REPLACEMENTS
from .simd import lanes_of, load_each, load_part, store_each, sum_lanes
from .threads import get_num_threads, run_parallel, split
from .workspace import empty

_GRAIN = 1 << 16  # numbers; fewer are not worth a second thread
_random = inlined(random_24_bits)


def _bounds(size):
    return split(size, min(get_num_threads(), max(1, size // _GRAIN)))


@cache
def _map_kernel(function, dtype):
    lanes = lanes_of(dtype)
    values_of = specialise(function, REPLACEMENTS, inlined)

    @kernel(f"map {text_of(function)} {dtype}")
    def run(arrays, scalars, first, last):
        for i in range(first, last, lanes):
            count = min(lanes, last - i)
            store_each(arrays, i, values_of(load_each(arrays, i, count), scalars), count)

    return run


def apply_map(function, arrays, scalars):
    """Replace the first arrays' numbers by the values of `function`, number by number.

    `function` takes a tuple with a number of each array and the tuple of scalars, and returns
    the new numbers of the first arrays. All arrays are contiguous, of one size and dtype.
    """
    run = _map_kernel(function, arrays[0].dtype)
    flat = tuple(array.reshape(-1) for array in arrays)
    scalars = tuple(float(s) for s in scalars)
    run_parallel(run, [(flat, scalars, first, last) for first, last in _bounds(flat[0].size)])


@cache
def _sum_of_squares_kernel(dtype):
    lanes = lanes_of(dtype)

    @kernel(f"sum_of_squares {dtype}")
    def total(array):
        whole, chunk = 0.0, 64 * lanes
        # Short sums in the arrays' own precision, gathered in float64.
        for first in range(0, array.size, chunk):
            last = min(first + chunk, array.size)
            v = load_part(array, first, last - first)
            squares = v * v
            for i in range(first + lanes, last, lanes):
                v = load_part(array, i, last - i)
                squares = squares + v * v
            whole += sum_lanes(squares)
        return whole

    return total


def sum_of_squares(array):
    """Sum of the squares of all numbers, a 0-d float64 array."""
    return np.array(_sum_of_squares_kernel(array.dtype)(array.reshape(-1)))


@kernel("dropout")
def _dropout(x, y, first, last, threshold, scale, seed):
    for i in range(first, last):
        kept = _random(seed, np.uint64(i)) >= threshold
        y[i] = x[i] * scale if kept else 0


def dropout(x, rate, seed):
    """A copy of `x` with a share `rate` of its numbers set to 0, the rest divided by 1 - rate.

    The same seed drops the same numbers, on every device: the backward pass is the same call.
    """
    y = empty(x.shape, x.dtype)
    threshold, scale = np.uint64(rate * 2**24), x.dtype.type(1 / (1 - rate))
    run_parallel(
        _dropout,
        [
            (x.reshape(-1), y.reshape(-1), first, last, threshold, scale, np.uint64(seed))
            for first, last in _bounds(x.size)
        ],
    )
    return y


@kernel("random_mask")
def _random_mask(mask, first, last, threshold, value, seed):
    for i in range(first, last):
        mask[i] = value if _random(seed, np.uint64(i)) >= threshold else 0


def random_mask(shape, rate, value, seed, dtype):
    """An array with a share `rate` of zeros and `value` elsewhere: those that `dropout` keeps."""
    mask = empty(shape, np.dtype(dtype))
    threshold, value = np.uint64(rate * 2**24), mask.dtype.type(value)
    run_parallel(
        _random_mask,
        [
            (mask.reshape(-1), first, last, threshold, value, np.uint64(seed))
            for first, last in _bounds(mask.size)
        ],
    )
    return mask
