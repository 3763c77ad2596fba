"""What must lie in memory before a time loop starts, by one launch; what must not, after it."""

from functools import cache

import cupy
import numpy as np
from numba import types

from .device import ELEMENTS, INTEGER, INTEGERS, cuda, floats, working
from .launching import Kernel

COUNTERS = types.CPointer(types.uint32)
COUNTER_PITCH = 32
"""Numbers from one counter to the next, so that no two share a cache line."""

THREADS = 256


class Scratch:
    """The integers of a time loop: addresses of its `counters` and of its sequences' `ends`.

    The addresses hold as long as this object lives. `lengths` (B,) are the ends, on the host or
    the device; None leaves them to `prepare`.
    """

    def __init__(self, counters, batch=0, lengths=None):
        self.counter_count = counters * COUNTER_PITCH
        counter_room = self.counter_count // 2  # two counters are as long as an end
        self._room = cupy.cuda.alloc(8 * (counter_room + batch))
        self.counters = self._room.ptr
        self.ends = self.counters + 8 * counter_room
        if lengths is not None:
            self._lengths = cupy.asarray(lengths, np.int64)
            self.ends = self._lengths.data.ptr


@cache
def prepare_kernel(dtype):
    """The kernel of `prepare`; `given` tells whether there is a source."""
    nothing = ELEMENTS[np.dtype(dtype)](0)

    def run(
        states, batch, hidden, given, source, source_plane, source_pitch, target, target_plane,
        pitch, steps, ends, counters, counter_count, ones, one_count,
    ):  # fmt: skip
        i = cuda.grid(1)
        row, j = i // hidden, i % hidden
        state, b = row // batch, row % batch
        if state < states:
            number = nothing
            if given:
                number = source[state * source_plane + b * source_pitch + j]
            target[state * target_plane + b * pitch + j] = number
        if i < batch and steps > 0:
            ends[i] = steps
        if i < counter_count:
            counters[i] = 0
        if i < one_count:
            ones[i] = 1

    f, s, i = floats(dtype), floats(working(dtype)), INTEGER
    signature = (i, i, i, i, f, i, i, s, i, i, i, INTEGERS, COUNTERS, i, f, i)
    return Kernel(f"prepare {dtype}", run, signature)


def prepare(dtype, state, history, slot, scratch, steps=0, ones=None):
    """Copy a state (S, B, H) to a slot of a history (S, slots, B, pitch), or put zeros there if it
    is None; make all else ready.

    That is: counters at zero; with `steps`, sequences that end there; ones in `ones`. A state and
    ones are of `dtype`, the history is `working` of it.
    """
    state_count, slots, batch, pitch = history.shape
    source, hidden, itemsize = (0, 0, 0), pitch, dtype.itemsize
    if state is not None:
        by_state, by_row, _ = state.strides
        source, hidden = (state.data.ptr, by_state // itemsize, by_row // itemsize), state.shape[2]
    slot_size, one_count = batch * pitch, 0 if ones is None else ones.size
    most = max(state_count * batch * hidden, scratch.counter_count, one_count)
    prepare_kernel(dtype)(
        (-(-most // THREADS), 1, 1), (THREADS, 1, 1),
        state_count, batch, hidden, int(state is not None), *source,
        history.data.ptr + slot * slot_size * history.itemsize, slots * slot_size, pitch, steps,
        scratch.ends, scratch.counters, scratch.counter_count,
        ones.data.ptr if one_count else 0, one_count,
    )  # fmt: skip


@cache
def valid_kernel(dtype):
    """The kernel of `valid_rows`."""
    element = ELEMENTS[np.dtype(dtype)]

    def run(size, batch, width, ends, source, target):
        i = cuda.grid(1)
        if i < size:
            row = i // width
            target[i] = source[i] if row // batch < ends[row % batch] else element(0)

    f, i = floats(dtype), INTEGER
    return Kernel(f"valid_rows {dtype}", run, (i, i, i, INTEGERS, f, f))


def valid_rows(a, ends, out):
    """`out` (T, B, N) with the numbers of `a`, which it may be, but 0 past the sequences' ends."""
    kernel = valid_kernel(a.dtype)
    grid = (-(-a.size // THREADS), 1, 1)
    kernel(grid, (THREADS, 1, 1), a.size, a.shape[1], a.shape[2], ends, a.data.ptr, out.data.ptr)
    return out
