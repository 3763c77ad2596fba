"""Matrix products on packed panels.

The right factor of a product is packed into panels of as many columns as a block has: first a
row to start from (the bias, or zeros), then one row for each step of the depth. A panel is read
from its beginning to its end, once for each block of rows, and stays in the cache meanwhile.
"""

import numpy as np
from numba import njit

from .blocks import ROWS, VECTORS, multiply_block
from .simd import REGISTER_BYTES, lanes_of

DEPTH = 256  # of a block of the large products: a panel this deep lies in the first-level cache


def panel_width(dtype):
    """Columns of a panel."""
    return VECTORS * lanes_of(dtype)


def padded(columns, dtype):
    """`columns`, rounded up to whole panels."""
    width = panel_width(dtype)
    return -(-columns // width) * width


def empty_panels(columns, depth, dtype):
    """Room for packed panels: (panels, depth + 1, width)."""
    width = panel_width(dtype)
    return np.empty((padded(columns, dtype) // width, depth + 1, width), dtype)


@njit
def pack_panels(source, column_offsets, depth_offsets, start, start_index, panels):
    """Pack B[k, n] = source[depth_offsets[k] + column_offsets[n]], with start[start_index[n]] ahead.

    A negative offset or index stands for zeros.
    """
    count, rows, width = panels.shape
    for p in range(count):
        for w in range(width):
            n = p * width + w
            beyond = n >= column_offsets.size
            panels[p, 0, w] = 0 if beyond or start_index[n] < 0 else start[start_index[n]]
            for k in range(rows - 1):
                if beyond or column_offsets[n] < 0 or depth_offsets[k] < 0:
                    panels[p, k + 1, w] = 0
                else:
                    panels[p, k + 1, w] = source[depth_offsets[k] + column_offsets[n]]


@njit
def multiply_panels(a, a_offsets, count, depth, panels, c, c_offsets, width, resume):
    """C (+)= A @ B for `count` rows, B packed in `panels`.

    Row r of A begins at a_offsets[r], of C at c_offsets[r]. Of C, `width` columns are written;
    those of the last panel that are beyond are not touched. To `resume` from what C holds, the
    panels' starting rows must be zeros.

    Numba compiles this anew for each literal it is called with: numbers that are not variables
    should come as np.intp(...) or np.bool_(...).
    """
    flat = panels.reshape(-1)
    across = panels.shape[2]
    tile = np.empty(ROWS * across, a.dtype)
    tile_offsets = np.arange(ROWS) * across
    for p in range((width + across - 1) // across):
        start = p * panels.shape[1] * across
        columns = min(across, width - p * across)
        whole = columns == across
        target, target_offsets = (c, c_offsets) if whole else (tile, tile_offsets)
        column = p * across if whole else 0
        for row in range(0, count, ROWS):
            rows = min(ROWS, count - row)
            multiply_block(
                rows, a, a_offsets, row, flat, start,
                target, target_offsets, row if whole else 0, column, depth, resume and whole,
            )  # fmt: skip
            if not whole:
                for r in range(rows):
                    to = c_offsets[row + r] + p * across
                    for w in range(columns):
                        value = tile[r * across + w]
                        c[to + w] = c[to + w] + value if resume else value


@njit
def add_outer_product(a, a_offsets, columns, b, b_offsets, width, c, c_offsets):
    """C[i, :] += sum over k of A[k, columns[i]] * B[k, :].

    Row k of A begins at a_offsets[k], of B at b_offsets[k]; row i of C at c_offsets[i]. This is
    the product of the weight gradients: the sum goes over all steps of all sequences.
    """
    across = VECTORS * (REGISTER_BYTES // a.itemsize)
    count = (width + across - 1) // across
    panels = np.zeros((count, DEPTH + 1, across), a.dtype)
    block = np.empty(DEPTH * ROWS, a.dtype)
    block_offsets = np.arange(ROWS) * DEPTH
    for k0 in range(0, a_offsets.size, DEPTH):
        depth = min(DEPTH, a_offsets.size - k0)
        for k in range(depth):
            row = b_offsets[k0 + k]
            for p in range(count):
                for w in range(min(across, width - p * across)):
                    panels[p, k + 1, w] = b[row + p * across + w]
        for i in range(0, columns.size, ROWS):
            rows = min(ROWS, columns.size - i)
            for k in range(depth):
                row = a_offsets[k0 + k]
                for r in range(rows):
                    block[r * DEPTH + k] = a[row + columns[i + r]]
            multiply_panels(
                block, block_offsets, rows, depth, panels, c, c_offsets[i:], width, np.bool_(True)
            )


@njit
def add_column_sums(a, a_offsets, columns, c):
    """c[i] += sum over k of A[k, columns[i]], row k of A beginning at a_offsets[k]."""
    for k in range(a_offsets.size):
        for i in range(columns.size):
            c[i] += a[a_offsets[k] + columns[i]]
