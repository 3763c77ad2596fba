"""The one place that names the CUDA compiler: everything else takes `cuda` from here."""

from functools import cache
from importlib.metadata import version

import numpy as np
from numba import cuda, types
from numba.cuda.extending import intrinsic

__all__ = [
    "COMPILER",
    "ELEMENTS",
    "INTEGER",
    "INTEGERS",
    "compile_ptx",
    "cuda",
    "floats",
    "inlined",
    "intrinsic",
    "why_not",
]

COMPILER = f"numba-cuda {version('numba-cuda')}"
"""What turns kernels into PTX."""

ELEMENTS = {np.dtype("float32"): types.float32, np.dtype("float64"): types.float64}
"""Numba's type of each dtype that kernels have."""

INTEGER = types.int64
INTEGERS = types.CPointer(types.int64)


def floats(dtype):
    """Numba's type of a pointer to numbers of a dtype."""
    return types.CPointer(ELEMENTS[np.dtype(dtype)])


def inlined(function):
    """Make a function part of the kernels that call it.

    Inlined by Numba, not by LLVM: a function that Numba compiles by itself is compiled for the
    current device, and to compile kernels there need not be one.
    """
    return cuda.jit(device=True, inline="always")(function)


def compile_ptx(function, argument_types, capability):
    """A kernel's PTX for a compute capability, a pair of ints; needs no GPU."""
    return cuda.compile_ptx(function, types.void(*argument_types), cc=capability)[0]


def _do_nothing(n):
    pass


@cache
def why_not():
    """Why kernels cannot be compiled here, or None if they can."""
    try:
        compile_ptx(_do_nothing, (INTEGER,), (8, 0))
    except Exception as error:  # a missing NVVM shows as any of several exceptions
        return f"numba-cuda cannot compile ({type(error).__name__}: {error})"
    return None
