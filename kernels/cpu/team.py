"""Threads that work on one time loop together: each step's hidden units are shared among them.

The calling thread leads: it begins at once and alone. The others are admitted, at a step's
beginning, when they have come; one that never comes is not missed, so that no number of busy
or missing threads can block the loop. Between steps the members meet. Who waits, spins for some
microseconds and then yields its core to whoever wants it, be it the member that is waited for.
If a wait is so long that others must be using that one's core, the leader sends the followers
home and goes on alone.

The members speak through an array of 64-bit integers (see `new_board`), with a cache line
for each, read and written by atomic instructions.
"""

import ctypes
import os
import platform

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .compiling import inlined

LINE = 16  # integers from one member's line to the next: neighbouring lines are fetched in pairs
SPINS = 500  # some ten microseconds
PATIENCE = 2000  # spins and yields: a millisecond or less
_FOREVER = 1 << 62
_ARRIVED, _CLOSED, _MEMBERS = 0, LINE, 2 * LINE
# Of a member's line: the last meeting it has come to; the leader's also says how many share the
# next even and odd step; a follower's, one more than the step from which it takes part.
_MET, _SHARING, _FROM = 0, 1, 3

_YIELD = "gpurnn_yield_core"


def _register_yield():
    if os.name == "nt":
        function = ctypes.windll.kernel32.SwitchToThread
    else:
        function = ctypes.CDLL(None).sched_yield
    llvm.add_symbol(_YIELD, ctypes.cast(function, ctypes.c_void_p).value)


_register_yield()
# LLVM's intrinsic by which a core is told that its thread only waits, and its operands.
_PAUSES = dict.fromkeys(("x86_64", "AMD64"), ("llvm.x86.sse2.pause", ())) | dict.fromkeys(
    ("aarch64", "arm64"), ("llvm.aarch64.hint", (1,))
)


def new_board(members):
    """The integers through which up to `members` threads work together on one time loop."""
    board = np.zeros(_MEMBERS + members * LINE, np.int64)
    board[_MEMBERS + _SHARING] = 1  # step 0 is the leader's alone
    return board


def _place(context, builder, sig, args):
    data = context.make_array(sig.args[0])(context, builder, args[0]).data
    return builder.gep(data, [args[1]])


@intrinsic
def _read(typingctx, board, at):
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
def _count(typingctx, board, at):
    """Add 1 there; returns the new value."""

    def codegen(context, builder, sig, args):
        one = ir.Constant(ir.IntType(64), 1)
        old = builder.atomic_rmw("add", _place(context, builder, sig, args), one, "seq_cst")
        return builder.add(old, one)

    return types.int64(board, types.intp), codegen


def _call(builder, name, result, operands):
    signature = ir.FunctionType(result, [operand.type for operand in operands])
    function = builder.module.globals.get(name) or ir.Function(builder.module, signature, name)
    builder.call(function, operands)


@intrinsic
def _pause(typingctx):
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


@inlined
def _wait(spins):
    if spins < SPINS:
        _pause()
    else:
        _yield_core()


@inlined
def look_for(board, at, number, most):
    """Look until `number` or more is written there, but only so often; returns how often."""
    looks = 0
    while looks < most and _read(board, at) < number:
        _wait(looks)
        looks += 1
    return looks


@inlined
def join(board, leads):
    """Become a member: returns the member's number, and the first step in which it takes part.

    A follower for whom there is no step left gets -1 for its first step.
    """
    if leads:
        return np.intp(0), np.intp(0)
    member = np.intp(_count(board, _ARRIVED))
    line, spins = _MEMBERS + member * LINE, 0
    while True:
        first = np.intp(_read(board, line + _FROM))
        if first > 0:
            return member, first - 1
        if _read(board, _CLOSED) > 0:
            return member, np.intp(-1)
        _wait(spins)
        spins += 1


@inlined
def members_of(board, step):
    """How many members share this step; the same for all of them, and only these go on."""
    return np.intp(_read(board, _MEMBERS + _SHARING + step % 2))


@inlined
def prepare_next(board, step, disturbed):
    """By the leader, in this step: let those who have come meanwhile share the next.

    Or, if the team was `disturbed`, nobody.
    """
    members = 1 if disturbed else 1 + _read(board, _ARRIVED)
    write(board, _MEMBERS + _SHARING + (step + 1) % 2, members)


@inlined
def welcome(board, step, before, members):
    """By the leader, in the first step of the new ones: let them begin."""
    for new in range(before, members):
        write(board, _MEMBERS + new * LINE + _FROM, step + 1)


@inlined
def meet(board, member, members, number):
    """Wait until all members have come to meeting `number`; numbers only grow.

    Returns whether the wait was so long that someone's core must be in use by others.
    """
    write(board, _MEMBERS + member * LINE + _MET, number)
    long = False
    for other in range(members):
        looks = look_for(board, _MEMBERS + other * LINE + _MET, number, _FOREVER)
        long = long or looks > PATIENCE
    return long


@inlined
def close(board, disturbed):
    """By the leader, at the end or when the team is disturbed: nobody else need begin."""
    write(board, _CLOSED, 2 if disturbed else 1)


def close_to_newcomers(board):
    """From Python: as `close`, where the leader may have failed before it came to that."""
    board[_CLOSED] = max(board[_CLOSED], 1)


def was_disturbed(board):
    """Whether the leader sent the others home."""
    return board[_CLOSED] == 2
