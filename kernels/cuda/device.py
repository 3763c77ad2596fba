"""The one place that names the CUDA compiler, `halves` apart: the rest takes `cuda` from here."""

from functools import cache
from importlib.metadata import version

import numpy as np
from numba import cuda, types
from numba.cuda.compiler import compile_cuda
from numba.cuda.dispatcher import CUDADispatcher
from numba.cuda.extending import intrinsic

from .halves import HalfPointer

__all__ = [
    "COMPILER",
    "ELEMENTS",
    "HALVES",
    "INTEGER",
    "INTEGERS",
    "compile_ptx",
    "cuda",
    "floats",
    "inlined",
    "intrinsic",
    "why_not",
    "working",
]

COMPILER = f"numba-cuda {version('numba-cuda')}"
"""What turns kernels into PTX."""

HALVES = [np.dtype("float16")]
"""What is stored in 16 bits; see `halves`."""

try:
    import ml_dtypes

    HALVES.append(np.dtype(ml_dtypes.bfloat16))
except ImportError:  # then nobody has arrays of bfloat16 either
    pass

ELEMENTS = {
    np.dtype("float32"): types.float32,
    np.dtype("float64"): types.float64,
    **{half: types.float32 for half in HALVES},
}
"""Numba's type of what kernels compute with, for each dtype that they have."""

_ANY_CAPABILITY = (9, 0)
"""A compiler wants one where none makes a difference."""

INTEGER = types.int64
INTEGERS = types.CPointer(types.int64)


def floats(dtype):
    """Numba's type of a pointer to numbers of a dtype."""
    dtype = np.dtype(dtype)
    return HalfPointer(dtype.name) if dtype in HALVES else types.CPointer(ELEMENTS[dtype])


def working(dtype):
    """The dtype of states, of what a tape keeps and of scalars: float32 for 16 bits."""
    dtype = np.dtype(dtype)
    return np.dtype("float32") if dtype in HALVES else dtype


class _Part(CUDADispatcher):
    """A function that kernels are made of, lowered once in a process for each signature.

    Numba would ask for the current device to do it. There need not be one: what LLVM makes of a
    part is the same for all devices, and NVVM compiles it with the kernel, for the kernel's.
    """

    _OPTIONS = {"forceinline": True, "fastmath": False}

    def __init__(self, function):
        super().__init__(function, {"device": True, "opt": True, **self._OPTIONS})

    def compile_device(self, args, return_type=None):
        if args not in self.overloads:
            with self._compiling_counter:
                lowered = compile_cuda(
                    self.py_func,
                    return_type,
                    args,
                    **self._OPTIONS,
                    cc=_ANY_CAPABILITY,
                    nvvm_options={},
                )
                self.overloads[args] = lowered
                lowered.target_context.insert_user_function(
                    lowered.entry_point, lowered.fndesc, [lowered.library]
                )
        return self.overloads[args]


def inlined(function):
    """Make a function part of the kernels that call it.

    Inlined by NVVM, not by Numba, which would copy, type and lower it anew wherever it is called:
    three quarters of the time to compile a kernel, for the same machine code.
    """
    return _Part(function)


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
