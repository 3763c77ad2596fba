"""What every softmax over a row has in the middle."""

from functools import cache

import numpy as np

from .compiling import inlined
from .functions import exp
from .simd import lanes_of, load, store, sum_lanes


@cache
def exponentials(dtype):
    """A function (row, count, largest) that puts e^(x - largest) in place of the row's first
    `count` numbers and returns their sum. The row has room for whole vectors."""
    lanes = lanes_of(dtype)

    @inlined
    def exponentiate(row, count, largest):
        padded = (count + lanes - 1) // lanes * lanes
        for k in range(count, padded):
            row[k] = -np.inf  # weighs nothing
        total = load(row, 0) * 0
        for k in range(0, padded, lanes):
            e = exp(load(row, k) - largest)
            store(row, k, e)
            total = e if k == 0 else total + e
        return sum_lanes(total)

    return exponentiate
