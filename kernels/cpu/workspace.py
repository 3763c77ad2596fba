"""Where arrays lie; and large ones used again, since fresh memory costs a fault for each page."""

import ctypes
import math
import os
import threading
from collections import defaultdict

import numpy as np

_LINE_BYTES = 64
_LEAST_BYTES = 1 << 16  # of an array: the memory of smaller ones is at hand anyway
_MOST_BYTES = 1 << 28  # kept in all; what is larger is worth its faults

# Reentrant: the garbage collector may come in between and give back an array of its own.
_lock = threading.RLock()
_free = defaultdict(list)
_kept_bytes = 0


def _renew_lock():
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def aligned_empty(shape, dtype):
    """As `numpy.empty`, but the array begins with a cache line.

    NumPy's own begin anywhere; a vector that lies across two lines takes two accesses, and a
    product of few rows with such weights up to a third more time.
    """
    size = math.prod(shape) * dtype.itemsize
    return _from_line(np.empty(size + _LINE_BYTES, np.uint8), shape, dtype)


def _from_line(raw, shape, dtype):
    """An array in the memory of `raw`, from its first whole cache line on."""
    address = ctypes.addressof(ctypes.c_char.from_buffer(raw))  # quicker than raw.ctypes
    return np.ndarray(shape, dtype, raw, -address % _LINE_BYTES)


def aligned_copy(a):
    """A contiguous copy of an array, as `aligned_empty` has them."""
    copy = aligned_empty(a.shape, a.dtype)
    copy[...] = a
    return copy


def take(shape, dtype):
    """An array with arbitrary contents, in the memory of one of its size that was given back if
    there is any; large ones are `aligned_empty`.

    `dtype` is a numpy.dtype.
    """
    global _kept_bytes
    size = math.prod(shape) * dtype.itemsize
    if size < _LEAST_BYTES:  # to find the line's beginning would take longer than is gained
        return np.empty(shape, dtype)
    with _lock:
        raw = _free[size].pop() if _free[size] else None
        if raw is not None:
            _kept_bytes -= size
    if raw is None:
        raw = np.empty(size + _LINE_BYTES, np.uint8)
    return _from_line(raw, shape, dtype)


def give_back(*arrays):
    """Return arrays of `take` that nobody will look at any more."""
    global _kept_bytes
    for array in arrays:
        if array.nbytes < _LEAST_BYTES:
            continue
        with _lock:
            if _kept_bytes + array.nbytes <= _MOST_BYTES:
                _free[array.nbytes].append(array.base)
                _kept_bytes += array.nbytes
