"""Large products by cuBLAS, called without CuPy's checks, and able to add to what is there."""

from functools import cache

import numpy as np
from cupy.cuda import device, get_current_stream

from .device import working
from .recorded_product import multiply_recorded

_NO_TRANSPOSE, _TRANSPOSE = 0, 1  # of cublasOperation_t
_NUMBERS = {dtype: np.arange(2, dtype=dtype) for dtype in map(np.dtype, ("float32", "float64"))}
_ZEROS = {dtype: numbers.ctypes.data for dtype, numbers in _NUMBERS.items()}

# Of gemmEx, for 16 bits: cudaDataType_t by name; sums in float32; the library's own choice.
_HALF_TYPES = {"float16": 2, "bfloat16": 14}
_COMPUTE_32F, _DEFAULT = 68, -1


def multiply(a, b, out, add=False):
    """out (M, N) = a (M, K) @ b (K, N), or, with `add`, out += a @ b.

    `out` is C-contiguous; of `a` and `b` either the rows or the columns are.
    """
    if get_current_stream().is_capturing():
        multiply_recorded(a, b, out, add)
        return
    (rows, depth), columns, dtype = a.shape, b.shape[1], out.dtype
    scalars = working(dtype)
    zero = _ZEROS[scalars]
    one = zero + scalars.itemsize
    # cuBLAS's matrices lie column by column: what it is given, and makes, is the transpose.
    a_order, a_pitch = _layout(a)
    b_order, b_pitch = _layout(b)
    product_of(dtype)(
        device.get_cublas_handle(), b_order, a_order, columns, rows, depth, one,
        b.data.ptr, b_pitch, a.data.ptr, a_pitch, one if add else zero, out.data.ptr, columns,
    )  # fmt: skip


@cache
def product_of(dtype):
    """cuBLAS's function, looked for when it is first needed: to compile kernels it is not."""
    from cupy.cuda import cublas

    if dtype.name in _HALF_TYPES:
        return _product_of_halves(cublas.gemmEx, _HALF_TYPES[dtype.name])
    return {"float32": cublas.sgemm, "float64": cublas.dgemm}[dtype.name]


def _product_of_halves(gemm, kind):
    """gemmEx for matrices of 16 bits, with the arguments of sgemm; it sums in float32."""

    def multiply_halves(
        handle, a_order, b_order, m, n, k, alpha, a, a_pitch, b, b_pitch, beta, c, c_pitch
    ):
        gemm(
            handle, a_order, b_order, m, n, k, alpha, a, kind, a_pitch, b, kind, b_pitch, beta,
            c, kind, c_pitch, _COMPUTE_32F, _DEFAULT,
        )  # fmt: skip

    return multiply_halves


def _layout(a):
    """What cuBLAS must do to a matrix, and the numbers from one of its rows or columns on."""
    itemsize, (by_row, by_column), (rows, columns) = a.itemsize, a.strides, a.shape
    if by_column == itemsize or columns == 1:
        return _NO_TRANSPOSE, max(by_row // itemsize, columns)
    return _TRANSPOSE, max(by_column // itemsize, rows)
