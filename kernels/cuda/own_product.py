"""Products by the kernels of `product_kernel`, which can also be recorded in a CUDA graph."""

import cupy

from .device import working
from .layout import layout_of
from .product_factor import SLICE_BYTES
from .product_kernel import ASYNCHRONOUS, THREADS, product_kernel, sum_kernel, tilings

_SUM_THREADS = 256
_LEAST_SLICES = 8
"""Of the depth in a part of a split product."""


def multiply_own(a, b, out, add, device, tensor):
    """What `products.multiply` does, on a `plans.Device`.

    `tensor`: by tensor cores where the device and the dtype have them; of float32 numbers the
    factors are then rounded to tf32.
    """
    (rows, depth), columns, dtype = a.shape, b.shape[1], out.dtype
    asynchronous = device.capability >= ASYNCHRONOUS
    tensor = tensor and asynchronous and dtype.itemsize < 8
    (a_along, a_pitch, a_wide), (b_along, b_pitch, b_wide) = layout_of(a), layout_of(b.T)
    tiling, parts = _shares(rows, columns, depth, dtype, tensor, device.multiprocessors)
    slices = -(-depth * dtype.itemsize // SLICE_BYTES)
    slices_each = -(-slices // parts)
    parts = -(-slices // slices_each)
    partial = cupy.empty((parts, rows, columns), working(dtype)) if parts > 1 else None
    kernel = product_kernel(dtype, a_along, b_along, tensor, tiling, asynchronous)
    kernel(
        (-(-rows // tiling.rows), -(-columns // tiling.columns), parts), (THREADS, 1, 1),
        rows, columns, depth, a.data.ptr, a_pitch, int(a_wide), b.data.ptr, b_pitch, int(b_wide),
        out.data.ptr, int(add), 0 if partial is None else partial.data.ptr, slices_each,
    )  # fmt: skip
    if parts > 1:
        blocks = -(-out.size // _SUM_THREADS)
        sum_kernel(dtype)(
            (blocks, 1, 1), (_SUM_THREADS, 1, 1),
            out.size, parts, partial.data.ptr, out.data.ptr, int(add),
        )  # fmt: skip


def _shares(rows, columns, depth, dtype, tensor, multiprocessors):
    """(tiling, parts of the depth) that give every multiprocessor a block if that can be."""
    for tiling in tilings(dtype, tensor):
        blocks = -(-rows // tiling.rows) * -(-columns // tiling.columns)
        if blocks >= multiprocessors:
            return tiling, 1
    most_parts = depth * dtype.itemsize // (SLICE_BYTES * _LEAST_SLICES)
    return tiling, max(min(multiprocessors // blocks, most_parts), 1)
