"""The products of weight gradients: sums over all steps of all sequences.

They are made slice by slice of the sum: all that a slice of the gates' gradients is needed for
happens while it is in the second-level cache.
"""

import numpy as np

from .blocks import ROWS, VECTORS
from .compiling import inlined, part
from .product import multiply_panels
from .simd import REGISTER_BYTES, broadcast, load, load_part, store
from .views import flattened

DEPTH = 256  # of a slice: a panel this deep lies in the first-level cache
GROUPS = 12  # of ROWS columns of the left factor, packed at a time: whole cache lines


@inlined
def _load_some(source, index, some, lanes):
    return load(source, index) if some == lanes else load_part(source, index, some)


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


@part
def empty_slice(width, like):
    """Room for a slice of the right factor, `width` numbers wide, as panels."""
    across = VECTORS * (REGISTER_BYTES // like.itemsize)
    return np.zeros(((width + across - 1) // across, DEPTH + 1, across), like.dtype)


@part
def pack_slice(b, offsets, first, depth, width, panels):
    """Rows first .. first + depth - 1 of the right factor: row k begins at b[offsets[k]]."""
    count, height, across = panels.shape
    flat = flattened(panels)
    for k in range(depth):
        row = offsets[first + k]
        for p in range(count):
            to = (p * height + k + 1) * across
            _copy(b, row + p * across, width - p * across, flat, to, across)


@part
def empty_group(like):
    """Room for columns of the left factor, and where in it each of them begins."""
    across = VECTORS * (REGISTER_BYTES // like.itemsize)
    # Column r of a group: every ROWS-th number, from the group's beginning plus r.
    pitch = DEPTH * ROWS + across
    columns = np.arange(GROUPS * ROWS)
    return np.empty(GROUPS * pitch, like.dtype), columns // ROWS * pitch + columns % ROWS


@part
def pack_group(a, offsets, first, depth, column, some, packed, packed_offsets):
    """`some` columns of the left factor from `column` on, its rows as in `pack_slice`."""
    for k in range(depth):
        row = offsets[first + k] + column
        for done in range(0, some, ROWS):
            # Writes past its ROWS numbers, where the next k's come afterwards.
            to = packed_offsets[done] + k * ROWS
            _copy(a, row + done, some - done, packed, to, ROWS)


@part
def add_group(packed, packed_offsets, some, depth, panels, c, row, width):
    """Add the product of a group's columns and a slice to rows `row` .. row + some - 1 of c."""
    c_offsets = (row + np.arange(some)) * width
    multiply_panels(
        packed, packed_offsets, some, np.intp(ROWS), depth, panels, c, c_offsets, width,
        np.bool_(True),
    )  # fmt: skip


@part
def column_sums(a, offsets, first, depth, column, units, sums):
    """sums[0 .. units - 1] of the `units` columns from `column` on, over a slice's rows.

    Four rows at a time, and slice by slice, so that float32 sums of very many rows keep their
    digits. Writes whole vectors.
    """
    lanes = REGISTER_BYTES // a.itemsize
    whole = first + depth // 4 * 4
    for j in range(0, units, lanes):
        some, at = min(lanes, units - j), column + j
        total = broadcast(sums, 0)
        for k in range(first, whole, 4):
            one = _load_some(a, offsets[k] + at, some, lanes)
            two = _load_some(a, offsets[k + 1] + at, some, lanes)
            three = _load_some(a, offsets[k + 2] + at, some, lanes)
            four = _load_some(a, offsets[k + 3] + at, some, lanes)
            total = total + ((one + two) + (three + four))
        for k in range(whole, first + depth):
            total = total + _load_some(a, offsets[k] + at, some, lanes)
        store(sums, j, total)


@part
def add_outer_product(a, offsets, first, last, b, b_offsets, width, c, sums):
    """c[i, :] += sum over k of A[k, i] * B[k, :], and sums[i] += sum over k of A[k, i].

    i = first .. last - 1; row k of A begins at a[offsets[k]], of B at b[b_offsets[k]]; c, flat,
    has rows of `width` numbers. `sums` may be empty.
    """
    panels = empty_slice(width, a)
    packed, packed_offsets = empty_group(a)
    of_slice = np.empty(last - first + REGISTER_BYTES // a.itemsize, a.dtype)
    for k0 in range(0, offsets.size, DEPTH):
        depth = min(DEPTH, offsets.size - k0)
        pack_slice(b, b_offsets, k0, depth, width, panels)
        for i in range(first, last, GROUPS * ROWS):
            some = min(GROUPS * ROWS, last - i)
            pack_group(a, offsets, k0, depth, i, some, packed, packed_offsets)
            add_group(packed, packed_offsets, some, depth, panels, c, i, width)
        if sums.size:
            column_sums(a, offsets, k0, depth, first, last - first, of_slice)
            for i in range(last - first):
                sums[first + i] += of_slice[i]
