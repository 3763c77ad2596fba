"""Dropout of one number, the same wherever it is done."""

import numpy as np

from ..random import random_24_bits
from .device import inlined, working

_random = inlined(random_24_bits)


@inlined
def drop(value, seed, k, threshold, scale):
    """value times `scale`, or 0 where number `k` of the seed's is below the threshold; all but the
    floats are uint64."""
    return value * scale if _random(seed, k) >= threshold else type(scale)(0)


def arguments_of(rate, seed, dtype, scale=None):
    """(seed, threshold, scale) by which `drop` drops a share `rate` of numbers of a dtype; the
    others are divided by 1 - rate, unless there is another scale."""
    scale = 1 / (1 - rate) if scale is None else scale
    return np.uint64(seed), np.uint64(rate * 2**24), working(dtype).type(scale)
