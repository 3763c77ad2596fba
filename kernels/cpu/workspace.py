"""Where arrays lie, and the memory of large ones, which is used again.

A batch's outputs and gradients are megabytes, new in every call; to have the pages for them made
and cleared each time took up to a third of it.
"""

import ctypes
import math
import os
import threading

import numpy as np

_LINE_BYTES = 64
_LEAST_BYTES = 1 << 17  # of an array: the memory of smaller ones is at hand anyway
_MOST_BYTES = 1 << 28  # kept in all; what is larger is worth its faults


class _Memory:
    """What is free, by size, the size that was free last at the end.

    The garbage collector may come in between and free an array, in whatever thread and line: so
    nobody ever waits here. Who comes at a bad time goes away with nothing, or leaves nothing.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._free, self._bytes = {}, 0

    def take(self, size):
        """So many bytes that are free, or None."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            return self._remove(size) if size in self._free else None
        finally:
            self._lock.release()

    def keep(self, raw):
        """Keep what nobody uses any more."""
        size = len(raw)
        if size > _MOST_BYTES or not self._lock.acquire(blocking=False):
            return
        try:
            self._free.setdefault(size, []).append(raw)
            self._bytes += size
            while self._bytes > _MOST_BYTES:
                self._remove(next(iter(self._free)))
        finally:
            self._lock.release()

    def _remove(self, size):
        raw = self._free[size].pop()
        self._bytes -= size
        if not self._free[size]:
            del self._free[size]
        return raw


_memory = _Memory()


def _forget():
    global _memory
    _memory = _Memory()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)  # another thread may have been at it


class _Bytes(np.ndarray):
    """Memory. (NumPy would see through a view of a plain array, and pass over the next class.)

    `start` is its first number that begins a cache line.
    """


class _Lent(np.ndarray):
    """All of some `_Bytes`, for one array: it and every view of it hold this, and nobody else."""

    def __del__(self):
        whole = type(self.base) is _Bytes  # not a part that someone has cut out of it
        if whole and _memory:  # which the interpreter takes away at its end
            _memory.keep(self.base)


def aligned_empty(shape, dtype):
    """As `numpy.empty`, but the array begins with a cache line.

    NumPy's own begin anywhere; a vector that lies across two lines takes two accesses, and a
    product of few rows with such weights up to a third more time.
    """
    raw = np.empty(math.prod(shape) * dtype.itemsize + _LINE_BYTES, np.uint8)
    return np.ndarray(shape, dtype, raw, _first_line(raw))


def _first_line(raw):
    """The number of the byte where the first whole cache line begins."""
    address = ctypes.addressof(ctypes.c_char.from_buffer(raw))  # quicker than raw.ctypes
    return -address % _LINE_BYTES


def aligned_copy(a):
    """A contiguous copy of an array, as `aligned_empty` has them."""
    copy = aligned_empty(a.shape, a.dtype)
    copy[...] = a
    return copy


def empty(shape, dtype):
    """As `numpy.empty`; the memory of large arrays is used again once nobody has them any more.

    These are as `aligned_empty`. `dtype` is a numpy.dtype.
    """
    size = math.prod(shape) * dtype.itemsize
    if size < _LEAST_BYTES:  # to find the line's beginning would take longer than is gained
        return np.empty(shape, dtype)
    # Of nearly one size, as batches of sequences of varying lengths are, one takes the other's.
    step = 1 << (size.bit_length() - 4)
    size = -(-size // step) * step + _LINE_BYTES
    raw = _memory.take(size)
    if raw is None:
        raw = _Bytes(size, np.uint8)
        raw.start = _first_line(raw)
    return np.ndarray(shape, dtype, _Lent(size, np.uint8, raw), raw.start)


def zeros(shape, dtype):
    """As `empty`, of zeros."""
    array = empty(shape, dtype)
    array.fill(0)
    return array
