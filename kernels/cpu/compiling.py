"""How CPU kernels are compiled: without the GIL, with IEEE division, kept on disk."""

from numba import njit

from ..cache import DispatcherCache
from .simd import REGISTER_BYTES


def kernel(identity):
    """Decorate a function that Python calls; what it calls in turn is compiled into it.

    `identity` distinguishes it from other kernels, of other cells above all.
    """

    def decorate(function):
        dispatcher = njit(nogil=True, error_model="numpy")(function)
        dispatcher._cache = DispatcherCache(f"{identity} {REGISTER_BYTES}")
        return dispatcher

    return decorate


inlined = njit(error_model="numpy", forceinline=True)
compiled = njit(error_model="numpy")
"""For functions that several kernels call more than once: each kernel then has one copy."""
