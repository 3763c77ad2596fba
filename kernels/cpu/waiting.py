"""How threads that share an array of 64-bit integers speak to each other, and how they wait.

The integers are read and written by atomic instructions. Who waits, spins for some microseconds
and then yields its core to whoever wants it, be it the one that is waited for.
"""

import ctypes
import os
import platform
import time

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .compiling import inlined

LINE = 16  # integers from one thread's line to the next: neighbouring lines are fetched in pairs
FOREVER = 1 << 62
_SPINS = 500  # some ten microseconds
LONG_MILLISECONDS = 1
_YIELD, _CLOCK = "gpurnn_yield_core", "gpurnn_clock"


def _register():
    if os.name == "nt":
        functions = ctypes.windll.kernel32.SwitchToThread, ctypes.windll.kernel32.GetTickCount64
    else:
        functions = ctypes.CDLL(None).sched_yield, ctypes.CDLL(None).clock_gettime
    for name, function in zip((_YIELD, _CLOCK), functions):
        llvm.add_symbol(name, ctypes.cast(function, ctypes.c_void_p).value)


_register()
# LLVM's intrinsic by which a core is told that its thread only waits, and its operands.
_PAUSES = dict.fromkeys(("x86_64", "AMD64"), ("llvm.x86.sse2.pause", ())) | dict.fromkeys(
    ("aarch64", "arm64"), ("llvm.aarch64.hint", (1,))
)


def _place(context, builder, sig, args):
    data = context.make_array(sig.args[0])(context, builder, args[0]).data
    return builder.gep(data, [args[1]])


@intrinsic
def read(typingctx, board, at):
    """What others had written there, and all that they wrote before."""

    def codegen(context, builder, sig, args):
        return builder.load_atomic(_place(context, builder, sig, args), "acquire", 8)

    return types.int64(board, types.intp), codegen


@intrinsic
def write(typingctx, board, at, value):
    """Let others read `value`, and all that was written before."""

    def codegen(context, builder, sig, args):
        builder.store_atomic(args[2], _place(context, builder, sig, args), "release", 8)
        return context.get_dummy_value()

    return types.void(board, types.intp, types.int64), codegen


@intrinsic
def count_up(typingctx, board, at):
    """Add 1 there; returns the new value."""

    def codegen(context, builder, sig, args):
        one = ir.Constant(ir.IntType(64), 1)
        old = builder.atomic_rmw("add", _place(context, builder, sig, args), one, "seq_cst")
        return builder.add(old, one)

    return types.int64(board, types.intp), codegen


@intrinsic
def exchange(typingctx, board, at, old, new):
    """Write `new` if `old` is there, and nobody comes between; returns whether it was."""

    def codegen(context, builder, sig, args):
        place = _place(context, builder, sig, args)
        done = builder.cmpxchg(place, args[2], args[3], "seq_cst", "acquire")
        return builder.extract_value(done, 1)

    return types.boolean(board, types.intp, types.int64, types.int64), codegen


def _call(builder, name, result, operands):
    signature = ir.FunctionType(result, [operand.type for operand in operands])
    function = builder.module.globals.get(name) or ir.Function(builder.module, signature, name)
    return builder.call(function, operands)


@intrinsic
def pause(typingctx):
    """Tell the core that this thread only waits."""

    def codegen(context, builder, sig, args):
        if platform.machine() in _PAUSES:
            name, operands = _PAUSES[platform.machine()]
            numbers = [ir.Constant(ir.IntType(32), n) for n in operands]
            _call(builder, name, ir.VoidType(), numbers)
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def _yield_core(typingctx):
    """Let another thread have the core, if one wants it."""

    def codegen(context, builder, sig, args):
        _call(builder, _YIELD, ir.IntType(32), [])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def _milliseconds(typingctx):
    """Of a clock that never goes back."""

    def codegen(context, builder, sig, args):
        number = ir.IntType(64)
        if os.name == "nt":
            return _call(builder, _CLOCK, number, [])
        told = cgutils.alloca_once(builder, number, size=2)  # seconds, nanoseconds
        _call(builder, _CLOCK, ir.IntType(32), [ir.IntType(32)(time.CLOCK_MONOTONIC), told])
        seconds, rest = (builder.load(builder.gep(told, [number(i)])) for i in range(2))
        thousands = builder.mul(seconds, number(1000))
        return builder.add(thousands, builder.sdiv(rest, number(1_000_000)))

    return types.int64(), codegen


@inlined
def wait(spins):
    if spins < _SPINS:
        pause()
    else:
        _yield_core()


@inlined
def look_for(board, at, number, most):
    """Look until `number` or more is written there, but only so often; returns how often."""
    looks = 0
    while looks < most and read(board, at) < number:
        wait(looks)
        looks += 1
    return looks


@inlined
def looked_long(board, at, number):
    """Look until `number` or more is written there; returns whether it took some milliseconds, so
    that others must be using a core."""
    if look_for(board, at, number, _SPINS) < _SPINS:
        return False
    # By the clock: where others want this core, each time that it is yielded takes milliseconds.
    begun = _milliseconds()
    look_for(board, at, number, FOREVER)
    return _milliseconds() - begun > LONG_MILLISECONDS
