"""How CPU kernels are compiled: without the GIL, with IEEE division, kept on disk.

A kernel is one function that Python calls, and the many parts that it calls in turn. Numba would
optimise each of them, and make machine code of each, though all that is ever run is the kernel
they are linked into: half of its time goes there. Parts are therefore left as they come.
"""

import ctypes

import llvmlite.binding as llvm
from numba import _dynfunc, njit
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler

from ..cache import DispatcherCache
from .borrowing import without_counts_of_arguments
from .simd import REGISTER_BYTES


class _KernelLibrary(JITCodeLibrary):
    """A kernel's code, with that of the parts that it calls."""

    def _optimize_final_module(self):
        assembly = without_counts_of_arguments(str(self._final_module))
        self._final_module = llvm.parse_assembly(assembly)
        super()._optimize_final_module()


class _KernelCompiler(Compiler):
    def compile_extra(self, function):
        library = _KernelLibrary(self.state.targetctx.codegen(), function.__qualname__)
        library.enable_object_caching()
        self.state.library = library
        return super().compile_extra(function)


class _PartLibrary(JITCodeLibrary):
    """Code to be linked into a kernel's, where it is optimised."""

    def _optimize_final_module(self):
        pass

    def _finalize_final_module(self):
        self._finalize_dynamic_globals()
        self._finalized = True


# What runs if Python calls a part, a C function (self, arguments, keywords): it raises TypeError,
# since `self`, which Numba makes of the part's environment, cannot be called.
_REFUSE = ctypes.cast(ctypes.pythonapi.PyObject_Call, ctypes.c_void_p).value


class _PartCompiler(Compiler):
    def compile_extra(self, function):
        state, name = self.state, function.__qualname__
        state.flags.no_compile = True
        state.library = _PartLibrary(state.targetctx.codegen(), name)
        compiled = super().compile_extra(function)
        entry = _dynfunc.make_function(
            compiled.fndesc.lookup_module(), name, "", _REFUSE, compiled.environment, ()
        )
        # Numba itself does so for executable code only: let others call the part.
        state.targetctx.insert_user_function(entry, compiled.fndesc, [state.library])
        return compiled._replace(entry_point=entry)


_AS_PART = {
    "error_model": "numpy",
    "pipeline_class": _PartCompiler,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}

part = njit(forceinline=False, **_AS_PART)  # said, lest it inherit this from who calls it first
"""Decorates a function that kernels call."""

inlined = njit(forceinline=True, **_AS_PART)
"""Decorates a function that vanishes into the kernels that call it."""


def kernel(identity):
    """Decorate a function that Python calls; what it calls in turn is compiled into it.

    `identity` distinguishes it from other kernels, of other cells above all.
    """

    def decorate(function):
        dispatcher = njit(
            nogil=True, error_model="numpy", no_cfunc_wrapper=True, pipeline_class=_KernelCompiler
        )(function)
        dispatcher._cache = DispatcherCache(f"{identity} {REGISTER_BYTES}")
        return dispatcher

    return decorate
