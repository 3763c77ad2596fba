"""The products of weight gradients: sums over all steps of all sequences.

They are made slice by slice of the sum: all that a slice of the gates' gradients is needed for
happens while it is in the second-level cache.
"""

import numpy as np

from .blocks import VECTORS
from .compiling import inlined, part
from .product import multiply_panels
from .simd import REGISTER_BYTES, broadcast, load, load_part, store, store_part
from .views import flattened

DEPTH = 256  # of a slice: a panel this deep lies in the first-level cache
COLUMNS = 96  # of the left factor, packed at a time


@inlined
def _load_some(source, index, some, lanes):
    return load(source, index) if some == lanes else load_part(source, index, some)


@part
def empty_slice(width, like):
    """Room for a slice of the right factor, `width` numbers wide, as panels."""
    across = VECTORS * (REGISTER_BYTES // like.itemsize)
    return np.zeros(((width + across - 1) // across, DEPTH + 1, across), like.dtype)


@part
def pack_slice(b, offsets, first, depth, width, panels):
    """Rows first .. first + depth - 1 of the right factor: row k begins at b[offsets[k]]."""
    count, height, across = panels.shape
    lanes, flat = REGISTER_BYTES // b.itemsize, flattened(panels)
    for k in range(depth):
        row = offsets[first + k]
        for p in range(count):
            to = (p * height + k + 1) * across
            for w in range(0, across, lanes):
                at = p * across + w
                some = max(0, min(lanes, width - at))
                store(flat, to + w, _load_some(b, row + at, some, lanes))


@part
def empty_columns(like):
    """Room for columns of the left factor, and where in it each of them begins.

    A vector of columns lies together, row after row.
    """
    lanes = REGISTER_BYTES // like.itemsize
    columns = np.arange(COLUMNS)
    offsets = columns // lanes * (DEPTH * lanes) + columns % lanes
    return np.empty(DEPTH * COLUMNS, like.dtype), offsets


@part
def pack_columns_of_slice(a, offsets, first, depth, column, some, packed, packed_offsets):
    """`some` columns of the left factor from `column` on, its rows as in `pack_slice`."""
    lanes = REGISTER_BYTES // a.itemsize
    for k in range(depth):
        row = offsets[first + k] + column
        for done in range(0, some, lanes):
            to = packed_offsets[done] + k * lanes
            store(packed, to, _load_some(a, row + done, min(lanes, some - done), lanes))


@part
def add_product(packed, packed_offsets, some, depth, panels, c, row, width):
    """Add the product of packed columns and a slice to rows `row` .. row + some - 1 of c."""
    c_offsets = (row + np.arange(some)) * width
    multiply_panels(
        packed, packed_offsets, some, np.intp(REGISTER_BYTES // c.itemsize), depth, panels, c,
        c_offsets, width, np.bool_(True),
    )  # fmt: skip


@part
def add_sums(packed, packed_offsets, some, depth, totals, row):
    """Add to totals[row + i] the sum of packed column i, for `some` columns.

    Slice by slice, four rows at a time, so that float32 sums of very many rows keep their digits.
    """
    lanes = REGISTER_BYTES // packed.itemsize
    whole = depth // 4 * 4
    for done in range(0, some, lanes):
        at = packed_offsets[done]
        total = broadcast(packed, 0)
        for k in range(0, whole, 4):
            one, two, three, four = (
                load(packed, at + k * lanes),
                load(packed, at + (k + 1) * lanes),
                load(packed, at + (k + 2) * lanes),
                load(packed, at + (k + 3) * lanes),
            )
            total = total + ((one + two) + (three + four))
        for k in range(whole, depth):
            total = total + load(packed, at + k * lanes)
        to, left = row + done, min(lanes, some - done)
        store_part(totals, to, _load_some(totals, to, left, lanes) + total, left)


@part
def add_outer_product(a, offsets, first, last, b, b_offsets, width, c, sums):
    """c[i, :] += sum over k of A[k, i] * B[k, :], and sums[i] += sum over k of A[k, i].

    i = first .. last - 1; row k of A begins at a[offsets[k]], of B at b[b_offsets[k]]; c, flat,
    has rows of `width` numbers. `sums` may be empty.
    """
    panels = empty_slice(width, a)
    packed, packed_offsets = empty_columns(a)
    for k0 in range(0, offsets.size, DEPTH):
        depth = min(DEPTH, offsets.size - k0)
        pack_slice(b, b_offsets, k0, depth, width, panels)
        for i in range(first, last, COLUMNS):
            some = min(COLUMNS, last - i)
            pack_columns_of_slice(a, offsets, k0, depth, i, some, packed, packed_offsets)
            add_product(packed, packed_offsets, some, depth, panels, c, i, width)
            if sums.size:
                add_sums(packed, packed_offsets, some, depth, sums, i)
