"""Kernels as Numba compiles and CuPy launches them.

Numba turns a kernel into PTX, the toolkit's linker turns that into machine code, and both are kept
on disk; CuPy loads and launches it. So a launch is on CuPy's current stream by itself, takes raw
pointers, never synchronises, and costs a fraction of a launch through Numba's dispatcher, which
would inspect every CuPy array.
"""

import re
from functools import cache

import cupy
from cupy.cuda import driver

from ..cache import load_bytes, save_bytes
from .device import COMPILER, compile_ptx

_MAX_DYNAMIC_SHARED_BYTES = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES


class Kernel:
    """A CUDA kernel.

    Parameters
    ----------
    identity : str
        All that distinguishes it from kernels made of the same sources.
    function : callable
        In Numba's CUDA Python.
    argument_types : tuple of Numba types
    """

    def __init__(self, identity, function, argument_types):
        self.identity, self._function, self.argument_types = (
            identity,
            function,
            tuple(argument_types),
        )
        self._loaded = {}

    def ptx(self, capability):
        """The kernel's PTX for a compute capability, a pair of ints."""
        text = _kept(
            f"{COMPILER} {self.identity} {self.argument_types} {capability}",
            lambda: compile_ptx(self._function, self.argument_types, capability).encode(),
        )
        return text.decode()

    def __call__(self, grid, block, *arguments):
        """Launch on CuPy's current stream: CuPy arrays, pointers as ints, NumPy scalars."""
        self._function_here()(grid, block, arguments)

    def launch_together(self, grid, block, arguments, shared_bytes):
        """As calling, with all blocks running at once, and with dynamic shared memory."""
        function = self._function_here()
        function(grid, block, arguments, shared_bytes, enable_cooperative_groups=True)

    def resident_blocks(self, threads, shared_bytes):
        """How many such blocks a multiprocessor of the current device holds at once."""
        function = self._function_here()
        return driver.occupancyMaxActiveBlocksPerMultiprocessor(function.ptr, threads, shared_bytes)

    def _function_here(self):
        device = cupy.cuda.runtime.getDevice()
        function = self._loaded.get(device)
        if function is None:
            function = self._loaded[device] = self._load(device)
        return function

    def _load(self, device):
        digits = cupy.cuda.Device(device).compute_capability
        ptx = self.ptx((int(digits[:-1]), int(digits[-1])))
        module = cupy.cuda.function.Module()
        # Of this very text: two processes at once may have given the kernel two names.
        module.load(_kept(f"{_name(device)} {ptx}", lambda: _machine_code(ptx, digits)))
        function = module.get_function(re.search(r"\.entry\s+([\w$]+)", ptx).group(1))
        if ".extern .shared" in ptx:
            most = cupy.cuda.Device(device).attributes["MaxSharedMemoryPerBlockOptin"]
            driver.funcSetAttribute(function.ptr, _MAX_DYNAMIC_SHARED_BYTES, most)
        return function


def _kept(key, make):
    """What is kept on disk for a key, or else make(), which then is."""
    data = load_bytes("cuda", key)
    if data is None:
        data = make()
        save_bytes("cuda", key, data)
    return data


@cache
def _name(device):
    """What tells a device and its driver from others: an emulated one may want other code."""
    name = cupy.cuda.runtime.getDeviceProperties(device)["name"].decode()
    return f"{name}, driver {cupy.cuda.runtime.driverGetVersion()}"


def _machine_code(ptx, digits):
    """PTX assembled by the toolkit's own linker: a driver may be too old for its PTX version."""
    from cuda.core import Program, ProgramOptions

    options = ProgramOptions(arch=f"sm_{digits}")
    return bytes(Program(ptx, "ptx", options).compile("cubin").code)
