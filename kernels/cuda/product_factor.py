"""The tiles of a product's factors in shared memory: where each 16 bytes of them stand.

A tile has one slice of the depth and lies as the factor does in global memory, so that it comes
there 16 bytes at a time: either rows along the depth, each of `SLICE_BYTES`, or one row of all the
tile's outer numbers for each number of the depth. Within a row the 16 bytes are permuted, so that
eight that are stored or loaded at once meet in no bank.
"""

from dataclasses import dataclass

import numpy as np
from numba import types

from .device import intrinsic
from .emitting import constant, load_vector, plus, split, times
from .intrinsics import ACCESS_BYTES, lanes_of
from .tensor_cores import shared_pointer

SLICE_BYTES = 64
"""Of the depth, in a slice: 4 accesses, or what two instructions of a tensor core take."""

WARP_ROWS = 32
"""Of a product, that a warp makes."""

SLICE_CHUNKS = SLICE_BYTES // ACCESS_BYTES


@dataclass(frozen=True)
class Factor:
    """A tile of `size` rows of a, or columns of b; `tensor` if tensor cores multiply it."""

    dtype: np.dtype
    along_depth: bool
    size: int
    tensor: bool

    @property
    def lanes(self):
        return lanes_of(self.dtype)

    @property
    def depth(self):
        return SLICE_BYTES // self.dtype.itemsize

    @property
    def rows(self):
        """Rows of the tile as it lies in memory."""
        return self.size if self.along_depth else self.depth

    @property
    def chunks(self):
        """16 bytes, of such a row."""
        return SLICE_CHUNKS if self.along_depth else self.size // self.lanes

    @property
    def bytes(self):
        return self.size * SLICE_BYTES

    def place(self, builder, row, chunk):
        """How far behind the tile's first byte a row's chunk stands; all are LLVM's int32."""
        chunk = builder.xor(chunk, self._permutation(builder, row))
        number = plus(builder, times(builder, row, self.chunks), chunk)
        return times(builder, number, ACCESS_BYTES)

    def _permutation(self, builder, row):
        if self.along_depth:  # two rows are as wide as the banks
            return split(builder, split(builder, row, 2)[0], SLICE_CHUNKS)[1]
        if not self.tensor:  # neighbours are loaded from one row
            return constant(0)
        if self.dtype.itemsize == 2:  # 8 rows' chunks are loaded at once
            return split(builder, row, 8)[1]
        # Numbers of 4 rows, of two chunks each, are loaded at once.
        return times(builder, split(builder, row, 4)[1], 2)

    def load(self, builder, address, row, chunk, element, count):
        """`count` values of LLVM type `element` from a chunk on."""
        at = plus(builder, address, self.place(builder, row, chunk))
        pointer = shared_pointer(builder, at, element)
        return load_vector(builder, pointer, element, count, ACCESS_BYTES)


def place_of(factor):
    """An intrinsic (row, chunk) -> `Factor.place`."""

    @intrinsic
    def place(typingctx, row, chunk):
        def codegen(context, builder, signature, arguments):
            row, chunk = arguments
            return factor.place(builder, row, chunk)

        return types.int32(types.int32, types.int32), codegen

    return place
