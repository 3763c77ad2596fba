"""Rows of a table by their numbers, and back."""

from functools import cache

import cupy
import numpy as np

from .device import INTEGER, INTEGERS, cuda, floats
from .launching import Kernel

THREADS = 128


@cache
def gather_kernel(dtype):
    """The kernel of `embedding_forward`: one block a row."""

    def run(table, rows, indices, width, y):
        n = cuda.blockIdx.x
        index = indices[n]
        known = 0 <= index and index < rows
        for e in range(cuda.threadIdx.x, width, cuda.blockDim.x):
            # An unknown number gives NaN: to refuse it would mean to wait for the device.
            y[n * width + e] = table[index * width + e] if known else table[0] * 0 + np.nan

    f, i = floats(dtype), INTEGER
    return Kernel(f"embedding_forward {dtype}", run, (f, i, INTEGERS, i, f))


@cache
def add_kernel(dtype):
    """The kernel of `embedding_backward`: one block a run of equal numbers, in sorted order."""

    def run(dtable, rows, indices, order, count, width, dy):
        first = cuda.blockIdx.x
        index = indices[order[first]]
        if index < 0 or index >= rows or (first > 0 and indices[order[first - 1]] == index):
            return
        last = first + 1
        while last < count and indices[order[last]] == index:
            last += 1
        for e in range(cuda.threadIdx.x, width, cuda.blockDim.x):
            total = dtable[index * width + e]
            for n in range(first, last):
                total += dy[order[n] * width + e]
            dtable[index * width + e] = total

    f, i = floats(dtype), INTEGER
    return Kernel(f"embedding_backward {dtype}", run, (f, i, INTEGERS, INTEGERS, i, i, f))


def embedding_forward(table, indices):
    """table (V, E), indices (N,) -> (N, E)."""
    (rows, width), count = table.shape, indices.size
    y = cupy.empty((count, width), table.dtype)
    numbers = indices.astype(np.int64, copy=False)
    gather_kernel(table.dtype)((count, 1, 1), (THREADS, 1, 1), table, rows, numbers, width, y)
    return y


def embedding_backward(dtable, indices, dy):
    """Add row n of dy (N, E) to row indices[n] of dtable (V, E).

    Equal numbers are brought together by a stable sort, so that sums have one order: atomic
    additions would give other bits in every run.
    """
    rows, width = dtable.shape
    numbers = indices.astype(np.int64, copy=False)
    order = cupy.argsort(numbers, kind="stable")
    add_kernel(dtable.dtype)(
        (numbers.size, 1, 1), (THREADS, 1, 1), dtable, rows, numbers, order, numbers.size, width, dy
    )
