"""Large products by cuBLAS, called without CuPy's checks, and able to add to what is there."""

from functools import cache

import numpy as np
from cupy.cuda import device

from .device import working
from .layout import layout_of

_NO_TRANSPOSE, _TRANSPOSE = 0, 1  # of cublasOperation_t
_NUMBERS = {dtype: np.arange(2, dtype=dtype) for dtype in map(np.dtype, ("float32", "float64"))}
_ZEROS = {dtype: numbers.ctypes.data for dtype, numbers in _NUMBERS.items()}

# Of gemmEx: cudaDataType_t by name; sums in float32, of factors as they are or rounded to tf32;
# the library's own choice.
_TYPES = {"float32": 0, "float16": 2, "bfloat16": 14}
_COMPUTE_32F, _COMPUTE_32F_FAST_TF32, _DEFAULT = 68, 77, -1


def multiply_by_cublas(a, b, out, add, tf32):
    """What `products.multiply` does; `tf32` lets it round factors in float32 to tf32."""
    (rows, depth), columns, dtype = a.shape, b.shape[1], out.dtype
    scalars = working(dtype)
    zero = _ZEROS[scalars]
    one = zero + scalars.itemsize
    # cuBLAS's matrices lie column by column: what it is given, and makes, is the transpose.
    a_along, a_pitch, _ = layout_of(a)
    b_along, b_pitch, _ = layout_of(b)
    a_order, b_order = (_NO_TRANSPOSE if along else _TRANSPOSE for along in (a_along, b_along))
    product_of(dtype, tf32)(
        device.get_cublas_handle(), b_order, a_order, columns, rows, depth, one,
        b.data.ptr, b_pitch, a.data.ptr, a_pitch, one if add else zero, out.data.ptr, columns,
    )  # fmt: skip


@cache
def product_of(dtype, tf32):
    """cuBLAS's function, looked for when it is first needed: to compile kernels it is not."""
    from cupy.cuda import cublas

    if dtype.name == "float64":
        return cublas.dgemm
    if dtype.name == "float32" and not tf32:
        return cublas.sgemm
    how = _COMPUTE_32F_FAST_TF32 if dtype.name == "float32" else _COMPUTE_32F
    return _extended(cublas.gemmEx, _TYPES[dtype.name], how)


def _extended(gemm, kind, how):
    """gemmEx for matrices of a type, with the arguments of sgemm."""

    def multiply(
        handle, a_order, b_order, m, n, k, alpha, a, a_pitch, b, b_pitch, beta, c, c_pitch
    ):
        gemm(
            handle, a_order, b_order, m, n, k, alpha, a, kind, a_pitch, b, kind, b_pitch, beta,
            c, kind, c_pitch, how, _DEFAULT,
        )  # fmt: skip

    return multiply
