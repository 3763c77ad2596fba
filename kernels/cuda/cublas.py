"""Large products by cuBLAS, called without CuPy's checks, and able to add to what is there."""

import numpy as np
from cupy.cuda import cublas, device

_PRODUCTS = {np.dtype("float32"): cublas.sgemm, np.dtype("float64"): cublas.dgemm}
_NUMBERS = {dtype: np.arange(2, dtype=dtype) for dtype in _PRODUCTS}
_ADDRESSES = {dtype: numbers.ctypes.data for dtype, numbers in _NUMBERS.items()}


def multiply(a, b, out, add=False):
    """out (M, N) = a (M, K) @ b (K, N), or, with `add`, out += a @ b.

    `out` is C-contiguous; of `a` and `b` either the rows or the columns are.
    """
    (rows, depth), columns, dtype = a.shape, b.shape[1], out.dtype
    zero = _ADDRESSES[dtype]
    one = zero + dtype.itemsize
    # cuBLAS's matrices lie column by column: what it is given, and makes, is the transpose.
    a_order, a_pitch = _layout(a)
    b_order, b_pitch = _layout(b)
    _PRODUCTS[dtype](
        device.get_cublas_handle(), b_order, a_order, columns, rows, depth, one,
        b.data.ptr, b_pitch, a.data.ptr, a_pitch, one if add else zero, out.data.ptr, columns,
    )  # fmt: skip


def _layout(a):
    """What cuBLAS must do to a matrix, and the numbers from one of its rows or columns on."""
    itemsize, (by_row, by_column), (rows, columns) = a.itemsize, a.strides, a.shape
    if by_column == itemsize or columns == 1:
        return cublas.CUBLAS_OP_N, max(by_row // itemsize, columns)
    return cublas.CUBLAS_OP_T, max(by_column // itemsize, rows)
