"""What a warp does with a slice of a product's depth.

It makes `WARP_ROWS` rows by some columns of the product, whose sums stay in its registers. Each
kind of warp has two factors, so many `columns`, and of each lane `count` sums of type `element`; it
writes LLVM code by

- multiply(builder, lane, row, column, a_at, b_at, totals) -> the lane's sums plus what the slice
  gives, of the factors' tiles at the shared addresses; `row` and `column` are the warp's first
- put(builder, lane, row, column, at, pitch, totals): the sums to the block's tile
- pitch(columns) -> numbers from one row of that to the next, lest stores meet in a bank
"""

from numba import types

from .device import intrinsic
from .emitting import packed, unpacked
from .fused_warp import FusedWarp
from .product_factor import Factor
from .tensor_warp import TensorWarp


def make_warp(dtype, a_along, b_along, tensor, tiling):
    """The warp of a `product_kernel.product_kernel`."""
    a = Factor(dtype, a_along, tiling.rows, tensor)
    b = Factor(dtype, b_along, tiling.columns, tensor)
    return (TensorWarp if tensor else FusedWarp)(a, b, tiling.warp_columns)


def warp_functions(warp, tile_columns):
    """(zeros, accumulate, put) for a block's tile of so many columns.

    - zeros() -> the lane's sums
    - accumulate(sums, lane, row, column, a_at, b_at) -> the sums plus a slice's products
    - put(sums, lane, row, column, at): the sums to the block's tile in shared memory
    """
    sums, integer = types.UniTuple(warp.element, warp.count), types.int32
    pitch = warp.pitch(tile_columns)

    @intrinsic
    def zeros(typingctx):
        def codegen(context, builder, signature, arguments):
            zero = context.get_constant(warp.element, 0)
            return packed(builder, [zero] * warp.count)

        return sums(), codegen

    @intrinsic
    def accumulate(typingctx, totals, lane, row, column, a_at, b_at):
        def codegen(context, builder, signature, arguments):
            totals, *where = arguments
            totals = unpacked(builder, totals, warp.count)
            return packed(builder, warp.multiply(builder, *where, totals))

        return sums(sums, *(integer,) * 5), codegen

    @intrinsic
    def put(typingctx, totals, lane, row, column, at):
        def codegen(context, builder, signature, arguments):
            totals, *where = arguments
            warp.put(builder, *where, pitch, unpacked(builder, totals, warp.count))
            return context.get_dummy_value()

        return types.void(sums, *(integer,) * 4), codegen

    return zeros, accumulate, put
