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
from .layout import layout_of
from .own_product import multiply_own
from .schedules import autotune, device_here
from .tuning import seconds_of

MAKERS = ("auto", "cublas", "own")

_wanted, _tf32 = "auto", False


def products(name=None):
    """Which of `MAKERS` makes large products; with a name, from now on that one."""
    global _wanted
    if name is not None:
        if name not in MAKERS:
            raise ValueError(f"products: expected one of {MAKERS}, got {name!r}")
        _wanted = name
    return _wanted


def allow_tf32(on=None):
    """Whether products of float32 may round their factors to tf32; with `on`, set it."""
    global _tf32
    if on is not None:
        _tf32 = bool(on)
    return _tf32


def multiply(a, b, out, add=False):
    """out (M, N) = a (M, K) @ b (K, N), or, with `add`, out += a @ b.

    `out` is C-contiguous; of `a` and `b` either the rows or the columns are. Numbers of 16 bits
    are summed in float32.
    """
    if get_current_stream().is_capturing():
        make = _multiply_own
    elif _wanted == "auto":
        make = _BY[_quickest(a, b, out)]
    else:
        make = _BY[_wanted]
    make(a, b, out, add)


def _multiply_own(a, b, out, add):
    device = device_here(cupy.cuda.runtime.getDevice())
    multiply_own(a, b, out, add, device, tensor=_tf32 or out.dtype in HALVES)


def _multiply_by_cublas(a, b, out, add):
    multiply_by_cublas(a, b, out, add, _tf32)


_BY = {"cublas": _multiply_by_cublas, "own": _multiply_own}


def _quickest(a, b, out):
    """Of `_BY` what was quicker for such a product when that was timed; cuBLAS if it never was.

    Sizes are rounded up to powers of two, lest each length of a varying batch be timed anew.
    """
    sizes = tuple(1 << (n - 1).bit_length() for n in (*a.shape, b.shape[1]))
    layouts = *layout_of(a), *layout_of(b.T)
    key = (cupy.cuda.runtime.getDevice(), out.dtype, _tf32, sizes, layouts[::3], layouts[2::3])
    known = _remembered(*key)
    if known is None and autotune():
        known = _time(key, a, b, cupy.empty_like(out))
        _remembered.cache_clear()
    return min(known, key=known.get) if known else "cublas"


@lru_cache(maxsize=4096)
def _remembered(*key):
    """Seconds of each of `_BY`, as timed by this process or another, or None."""
    data = load_bytes("cuda", _name(key))
    try:
        found = json.loads(data or "null")
        return found and {name: float(found[name]) for name in _BY}
    except (ValueError, TypeError, KeyError):  # a damaged file
        return None


def _time(key, a, b, out):
    seconds = {name: seconds_of(lambda make=make: make(a, b, out, False))
               for name, make in _BY.items()}  # fmt: skip
    save_bytes("cuda", _name(key), json.dumps(seconds).encode())
    return seconds


def _name(key):
    number, dtype, *rest = key
    device = device_here(number)
    return f"timed product {COMPILER} {device.name} {device.capability} {dtype} {rest}"
