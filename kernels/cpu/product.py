"""Matrix products on packed panels (see `packing`).

A panel is read from its beginning to its end, once for each block of rows, and stays in the
cache meanwhile.
"""

import numpy as np

from .blocks import ROWS, block_product, panels_together
from .compiling import inlined, part
from .views import flattened

FEW_ROWS = ROWS // 2  # of these, several panels are multiplied at once
FEW_TOGETHER = (1, *(panels_together(rows) for rows in range(1, FEW_ROWS + 1)))
FEWEST_ROWS = 3
SECOND_LEVEL_BYTES = 3 << 19  # more than a second-level cache holds


@inlined
def are_zeros(a, start, count):
    """Whether a[start : start + count] are."""
    for i in range(start, start + count):
        if a[i] != 0:
            return False
    return True


@part
def depth_of(first, a, offsets, count, depth):
    """The depth of the product with the states a[offsets[r] :], `depth` numbers each.

    None where all are zeros, as they are before the `first` step of most sequences.
    """
    if not first:
        return depth
    for r in range(count):
        if not are_zeros(a, offsets[r], depth):
            return depth
    return np.intp(0)


def _multiply_few(multiply_block):
    @inlined
    def multiply(a, a_offsets, count, a_step, depth, panels, first, last, c, c_offsets, resume):
        flat, (_, height, across) = flattened(panels), panels.shape
        pitch, together = height * across, FEW_TOGETHER[count]
        for p in range(first, last, together):
            # The last few panels one by one.
            some = 1 if p + together > last else together
            for q in range(p, min(p + together, last), some):
                multiply_block(
                    count, some > 1, a, a_offsets, np.intp(0), a_step, flat, q * pitch, pitch,
                    c, c_offsets, np.intp(0), (q - first) * across, depth, resume,
                )  # fmt: skip

    return multiply


_multiply_block = block_product(ROWS)
_multiply_few_rows = _multiply_few(_multiply_block)
multiply_fewest_rows = part(_multiply_few(block_product(FEWEST_ROWS)).py_func)
"""As `multiply_whole_panels`, for up to FEWEST_ROWS rows: it compiles in a third of the time."""


@part
def multiply_whole_panels(
    a, a_offsets, count, a_step, depth, panels, first, last, c, c_offsets, resume
):
    """C (+)= A @ B for `count` rows, B packed in the panels first .. last - 1.

    Row r of A begins at a_offsets[r] and has its elements `a_step` apart; row r of C begins at
    c_offsets[r] and has a number for each column of these panels. To `resume` from what C
    holds, the panels' starting rows must be zeros.

    Numba compiles this anew for each literal it is called with: numbers that are not variables
    should come as np.intp(...) or np.bool_(...).
    """
    if count <= FEW_ROWS:
        _multiply_few_rows(
            a, a_offsets, count, a_step, depth, panels, first, last, c, c_offsets, resume
        )
        return
    flat, (_, height, across) = flattened(panels), panels.shape
    pitch, blocks = height * across, (count + ROWS - 1) // ROWS
    # Of panels too large for the second-level cache the next one is fetched while this is used.
    ahead = pitch if panels.nbytes > SECOND_LEVEL_BYTES else 0
    for p in range(first, last):
        for block in range(blocks):
            # Blocks of nearly equal height: 16 rows as 5 + 5 + 6 are quicker than as 6 + 6 + 4.
            row = count * block // blocks
            _multiply_block(
                count * (block + 1) // blocks - row, False, a, a_offsets, row, a_step,
                flat, p * pitch, ahead, c, c_offsets, row, (p - first) * across, depth, resume,
            )  # fmt: skip


@part
def multiply_panels(a, a_offsets, count, a_step, depth, panels, c, c_offsets, width, resume):
    """As `multiply_whole_panels`, of all panels; C has only `width` columns.

    Nothing beyond them is touched.
    """
    across = panels.shape[2]
    whole = width // across
    multiply_whole_panels(
        a, a_offsets, count, a_step, depth, panels, np.intp(0), whole, c, c_offsets, resume
    )
    rest = width - whole * across
    if rest == 0:
        return
    # The last panel goes through a tile of its own, since blocks write whole vectors.
    tile, tile_offsets = np.empty(ROWS * across, a.dtype), np.arange(ROWS) * across
    for row in range(0, count, ROWS):
        rows = min(ROWS, count - row)
        multiply_whole_panels(
            a, a_offsets[row:], rows, a_step, depth, panels, whole, whole + 1, tile, tile_offsets,
            np.bool_(False),
        )  # fmt: skip
        for r in range(rows):
            to = c_offsets[row + r] + whole * across
            for w in range(rest):
                value = tile[r * across + w]
                c[to + w] = c[to + w] + value if resume else value
