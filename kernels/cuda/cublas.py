"""Large products by cuBLAS, called without CuPy's checks, and able to add to what is there."""

from functools import cache, lru_cache

import numpy as np
from cupy.cuda import device

from .device import working
from .layout import order_of

_NO_TRANSPOSE, _TRANSPOSE = 0, 1  # of cublasOperation_t
_NUMBERS = {dtype: np.arange(2, dtype=dtype) for dtype in map(np.dtype, ("float32", "float64"))}
_ZEROS = {dtype: numbers.ctypes.data for dtype, numbers in _NUMBERS.items()}

# Of gemmEx: cudaDataType_t by name; sums in float32, of factors as they are or rounded to tf32;
# the library's own choice.
_TYPES = {"float32": 0, "float16": 2, "bfloat16": 14}
_COMPUTE_32F, _COMPUTE_32F_FAST_TF32, _DEFAULT = 68, 77, -1


def multiply_by_cublas(form, a, b, out, add):
    """What `products.multiply` does, of matrices at addresses; for a form see `products`."""
    orders, sizes, (a_pitch, b_pitch), one, zero = _arguments(*form)
    product_of(*form[:2])(
        device.get_cublas_handle(), *orders, *sizes, one, b, b_pitch, a, a_pitch,
        one if add else zero, out, sizes[0],
    )  # fmt: skip


@lru_cache(maxsize=4096)
def _arguments(dtype, tf32, a_shape, a_strides, b_shape, b_strides):
    """(orders, sizes, pitches of a and b, addresses of one and zero) for a form.

    cuBLAS's matrices lie column by column: what it is given, and makes, is the transpose.
    """
    a_along, a_pitch = order_of(a_shape, a_strides, dtype.itemsize)
    b_along, b_pitch = order_of(b_shape, b_strides, dtype.itemsize)
    orders = [_NO_TRANSPOSE if along else _TRANSPOSE for along in (b_along, a_along)]
    scalars = working(dtype)
    zero = _ZEROS[scalars]
    sizes = (b_shape[1], *a_shape)
    return orders, sizes, (a_pitch, b_pitch), zero + scalars.itemsize, zero


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
