"""Matrix products on packed panels.

The right factor of a product is packed into panels of as many columns as a block has: first a
row to start from (the bias, or zeros), then one row for each step of the depth. A panel is read
from its beginning to its end, once for each block of rows, and stays in the cache meanwhile.
"""

import numpy as np
from numba import njit

from .blocks import ROWS, VECTORS, multiply_block
from .simd import lanes_of


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
    """Pack B[k, n] = source[depth_offsets[k] + column_offsets[n]] below start[start_index[n]].

    A negative offset or index stands for zeros.
    """
    count, rows, width = panels.shape
    for p in range(count):
        columns = min(width, column_offsets.size - p * width)
        panels[p, :, columns:] = 0
        for w in range(columns):
            index = start_index[p * width + w]
            panels[p, 0, w] = 0 if index < 0 else start[index]
        for k in range(rows - 1):
            along = depth_offsets[k]
            for w in range(columns):
                across = column_offsets[p * width + w]
                inside = along >= 0 and across >= 0
                panels[p, k + 1, w] = source[along + across] if inside else 0


@njit
def multiply_panels(a, a_offsets, count, a_step, depth, panels, c, c_offsets, width, resume):
    """C (+)= A @ B for `count` rows, B packed in `panels`.

    Row r of A begins at a_offsets[r] and has its elements `a_step` apart; row r of C begins at
    c_offsets[r]. Of C, `width` columns are written, and none beyond them is touched. To
    `resume` from what C holds, the panels' starting rows must be zeros.

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
        blocks = (count + ROWS - 1) // ROWS
        for block in range(blocks):
            # Blocks of nearly equal height: 16 rows as 5 + 5 + 6 are quicker than as 6 + 6 + 4.
            row = count * block // blocks
            rows = count * (block + 1) // blocks - row
            multiply_block(
                rows, a, a_offsets, row, a_step, flat, start,
                target, target_offsets, row if whole else 0, column, depth, resume and whole,
            )  # fmt: skip
            if not whole:
                for r in range(rows):
                    to = c_offsets[row + r] + p * across
                    for w in range(columns):
                        value = tile[r * across + w]
                        c[to + w] = c[to + w] + value if resume else value
