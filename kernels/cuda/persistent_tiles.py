"""What the persistent schedule multiplies in: tiles by FFMA, or by tensor cores.

In shared memory all sizes count numbers of `device.working` dtype, "words".
"""

from dataclasses import dataclass

import numpy as np

from . import persistent_block, persistent_tensor
from .device import HALVES, working
from .intrinsics import chunk_of, column_pitch


def tile_heights(dtype, capability, late=0, tf32=False, layers=1):
    """The heights of tiles that devices of a compute capability have registers and units for.

    Before 9.0 the assembler takes more registers for the same text and spills larger ones, and
    of two-phase cells and of several layers, whose loops hold more, still smaller ones: of several
    layers in float64 all. Numbers of 16 bits, and float32 where `tf32` is allowed, are the tensor
    cores', which have one height, from 8.0 on.
    """
    tensor = (persistent_tensor.TILE_ROWS,) if capability >= (8, 0) else ()
    if dtype in HALVES:
        return tensor
    if dtype.itemsize == 4 and tf32:
        return (1, *tensor)
    if capability >= (9, 0):
        return (1, 4, 8) if dtype.itemsize == 4 else (1, 2, 4)
    if dtype.itemsize == 8:
        return (1,) if layers == 1 else ()
    return (1, 2) if late or layers > 1 else (1, 4)


@dataclass(frozen=True)
class Tiles:
    """Tiles of `rows` (one of `tile_heights`) by `persistent_block.COLUMNS`."""

    rows: int
    dtype: np.dtype

    @property
    def tensor(self):
        """Whether tensor cores multiply."""
        return self.rows == persistent_tensor.TILE_ROWS

    @property
    def chunk(self):
        """Numbers of the depth in a chunk."""
        return persistent_tensor.CHUNK if self.tensor else chunk_of(self.dtype)

    @property
    def row_words(self):
        """From one row's chunk to the next."""
        return persistent_tensor.slot_words(self.dtype) if self.tensor else chunk_of(self.dtype)

    @property
    def column_words(self):
        """From one column's chunk to the next."""
        return persistent_tensor.slot_words(self.dtype) if self.tensor else column_pitch(self.dtype)

    @property
    def word_bytes(self):
        return working(self.dtype).itemsize

    def fetch(self, of_states):
        """A function by which the block brings rows of `depth` numbers to shared memory.

        (source, start, count, stride, depth, shared, a, rows, chunks): chunk c of row r comes to
        shared[a + (c rows + r) row_words]; what the last chunk has beyond the depth becomes 0.
        `of_states` are of `working` dtype, others of the tiles'.
        """
        if self.tensor:
            return persistent_tensor.fetch(self.dtype, of_states)
        return persistent_block.fetch(self.dtype)

    def place_weight(self):
        """A function (shared, at, column, k, chunks, weight) that writes number k of a column.

        Chunk c of a column, of tile t, comes to shared[at + ((t chunks + c) COLUMNS + column %
        COLUMNS) column_words].
        """
        if self.tensor:
            return persistent_tensor.place_weight(self.dtype)
        return persistent_block.place_weight(self.dtype)

    def product(self):
        """A function by which the block multiplies.

        (shared, w, a, sums, rows, chunks, row_tiles, column_tiles, parts, pitch): the products of
        the rows that `fetch` brought with the columns that `place_weight` has put from `w` on.
        Part p's sum of row r and column c goes to shared[sums + (p rows + r) pitch + c].
        """
        if self.tensor:
            return persistent_tensor.block_product(self.dtype)
        return persistent_block.block_product(self.rows, self.dtype)
