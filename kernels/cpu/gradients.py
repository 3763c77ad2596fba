"""The products of weight gradients: sums over all steps of all sequences."""

import numpy as np
from numba import njit

from .blocks import ROWS, VECTORS
from .compiling import inlined
from .product import multiply_panels
from .simd import REGISTER_BYTES, load, load_part, store

DEPTH = 256  # of a slice of the sum: a panel this deep lies in the first-level cache
GROUPS = 12  # of ROWS columns of the left factor, packed at a time: whole cache lines


@inlined
def _copy(source, index, available, target, to, count):
    """Copy `count` numbers in whole vectors: what is written past them is of no account.

    Reads none but the first `available` numbers of the source.
    """
    lanes = REGISTER_BYTES // source.itemsize
    for i in range(0, count, lanes):
        if i + lanes <= available:
            store(target, to + i, load(source, index + i))
        else:
            store(target, to + i, load_part(source, index + i, available - i))


@njit
def add_outer_product(a, a_offsets, gates, a_pitch, first, last, b, b_offsets, width, c, c_pitch):
    """C[g c_pitch + i, :] += sum over k of A[k, g a_pitch + i] * B[k, :], i = first .. last - 1.

    Row k of A begins at a_offsets[k], of B at b_offsets[k]; C has rows of `width` numbers.
    """
    across = VECTORS * (REGISTER_BYTES // a.itemsize)
    count = (width + across - 1) // across
    panels = np.zeros((count, DEPTH + 1, across), a.dtype)
    panels_flat = panels.reshape(-1)
    # Column r of a group: every ROWS-th number, from the group's beginning plus r.
    group_pitch = DEPTH * ROWS + across
    packed = np.empty(GROUPS * group_pitch, a.dtype)
    columns = np.arange(GROUPS * ROWS)
    packed_offsets = columns // ROWS * group_pitch + columns % ROWS
    c_offsets = np.empty(GROUPS * ROWS, np.intp)
    for k0 in range(0, a_offsets.size, DEPTH):
        depth = min(DEPTH, a_offsets.size - k0)
        for k in range(depth):
            row = b_offsets[k0 + k]
            for p in range(count):
                to = (p * (DEPTH + 1) + k + 1) * across
                _copy(b, row + p * across, width - p * across, panels_flat, to, across)
        for gate in range(gates):
            for i in range(first, last, GROUPS * ROWS):
                some = min(GROUPS * ROWS, last - i)
                for k in range(depth):
                    row = a_offsets[k0 + k] + gate * a_pitch + i
                    for group in range((some + ROWS - 1) // ROWS):
                        # Writes past its ROWS numbers, where the next k's come afterwards.
                        to, done = group * group_pitch + k * ROWS, group * ROWS
                        _copy(a, row + done, some - done, packed, to, ROWS)
                for r in range(some):
                    c_offsets[r] = (gate * c_pitch + i + r) * width
                multiply_panels(
                    packed, packed_offsets, some, np.intp(ROWS), depth, panels,
                    c, c_offsets, width, np.bool_(True),
                )  # fmt: skip


@njit
def add_column_sums(a, a_offsets, gates, a_pitch, first, last, c, c_pitch):
    """c[g c_pitch + i] += sum over k of A[k, g a_pitch + i], i = first .. last - 1.

    Slice by slice, so that float32 sums of very many rows keep their digits.
    """
    lanes = REGISTER_BYTES // a.itemsize
    units = last - first
    sums = np.empty((units + lanes - 1) // lanes * lanes, a.dtype)
    for k0 in range(0, a_offsets.size, DEPTH):
        for gate in range(gates):
            sums[:] = 0
            for k in range(k0, min(k0 + DEPTH, a_offsets.size)):
                row = a_offsets[k] + gate * a_pitch + first
                for i in range(0, units - lanes + 1, lanes):
                    store(sums, i, load(sums, i) + load(a, row + i))
                if units % lanes:
                    i = units - units % lanes
                    store(sums, i, load(sums, i) + load_part(a, row + i, units - i))
            for i in range(units):
                c[gate * c_pitch + first + i] += sums[i]
