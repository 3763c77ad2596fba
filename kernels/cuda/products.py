"""Large products, by cuBLAS or by kernels of ours: by which, and how that may be chosen.

cuBLAS makes them unless ours have been timed to be quicker for their shape (see `..tuning`), or
are wanted, or a CUDA graph is recorded: CuPy does not call cuBLAS then.
"""

import json
from functools import lru_cache

import cupy
from cupy.cuda import get_current_stream

from ..cache import load_bytes, save_bytes
from .cublas import multiply_by_cublas
from .device import COMPILER, HALVES
from .intrinsics import ACCESS_BYTES
from .own_product import multiply_own
from .schedules import allow_tf32, device_here, times_products
from .tuning import seconds_of

MAKERS = ("auto", "cublas", "own")

_wanted = "auto"


def products(name=None):
    """Which of `MAKERS` makes large products; with a name, from now on that one."""
    global _wanted
    if name is not None:
        if name not in MAKERS:
            raise ValueError(f"products: expected one of {MAKERS}, got {name!r}")
        _wanted = name
    return _wanted


def multiply(a, b, out, add=False):
    """out (M, N) = a (M, K) @ b (K, N), or, with `add`, out += a @ b.

    `out` is C-contiguous; of `a` and `b` either the rows or the columns are. Numbers of 16 bits
    are summed in float32.
    """
    form = out.dtype, allow_tf32(), a.shape, a.strides, b.shape, b.strides
    maker = _maker_of(form)
    if maker is None and times_products():
        _time(form, a, b, cupy.empty_like(out))
        maker = _maker_of(form)
    _BY[maker or "cublas"](form, a, b, out, add)


def multiply_rows(x, w, out):
    """out (..., N) = x (..., K) times the transpose of w (N, K), all of them C-contiguous.

    What `multiply` does, without the views that it would take.
    """
    (columns, depth), itemsize = w.shape, w.itemsize
    rows, pitch = x.size // depth, depth * itemsize
    form = (
        out.dtype, allow_tf32(), (rows, depth), (pitch, itemsize), (depth, columns),
        (itemsize, pitch),
    )  # fmt: skip
    maker = _maker_of(form)
    if maker == "own" or maker is None and times_products():
        multiply(x.reshape(rows, depth), w.T, out.reshape(rows, columns))
    else:
        multiply_by_cublas(form, x.data.ptr, w.data.ptr, out.data.ptr, False)


def _maker_of(form):
    """Which of `_BY` is to make a product here; None, which means cuBLAS, if it was never timed.

    A form is all that a product depends on but for the numbers and where they are: (dtype, whether
    tf32 is allowed, shape and strides of a, those of b).
    """
    if get_current_stream().is_capturing():
        return "own"
    if _wanted != "auto":
        return _wanted
    return _remembered(cupy.cuda.runtime.getDevice(), *form)


def _multiply_own(form, a, b, out, add):
    device = device_here(cupy.cuda.runtime.getDevice())
    multiply_own(a, b, out, add, device, tensor=device.tf32 or out.dtype in HALVES)


def _multiply_by_cublas(form, a, b, out, add):
    multiply_by_cublas(form, a.data.ptr, b.data.ptr, out.data.ptr, add)


_BY = {"cublas": _multiply_by_cublas, "own": _multiply_own}


def _key(number, dtype, tf32, a_shape, a_strides, b_shape, b_strides):
    """What stands for a product on disk: sizes are rounded up to powers of two, lest each length
    of a varying batch be timed anew, and of the strides only what they mean is kept."""
    device, sizes = device_here(number), (*a_shape, b_shape[1])
    rounded = [1 << (size - 1).bit_length() for size in sizes]
    contiguous = [strides.index(min(strides)) for strides in (a_strides, b_strides)]
    aligned = [max(strides) % ACCESS_BYTES == 0 for strides in (a_strides, b_strides)]
    return (
        f"timed product {COMPILER} {device.name} {device.capability} {dtype} {tf32} {rounded} "
        f"{contiguous} {aligned}"
    )


@lru_cache(maxsize=4096)
def _remembered(number, *form):
    """The quickest of `_BY` as timed by this process or another, or None."""
    data = load_bytes("cuda", _key(number, *form))
    try:
        seconds = json.loads(data or "null")
        return seconds and min(_BY, key=lambda name: float(seconds[name]))
    except (ValueError, TypeError, KeyError):  # a damaged file
        return None


def _time(form, a, b, out):
    """Time all of `_BY`, and remember the seconds."""
    key = _key(cupy.cuda.runtime.getDevice(), *form)
    seconds = {
        name: seconds_of(lambda make=make: make(form, a, b, out, False))
        for name, make in _BY.items()
    }
    save_bytes("cuda", key, json.dumps(seconds).encode())
    _remembered.cache_clear()
