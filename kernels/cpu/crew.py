"""Calls of compiled functions by threads that wait without the GIL.

To hand a call to a thread through Python takes some 15 microseconds: it must get the GIL, which
the caller has till its kernel begins. A worker that looks for work does so in compiled code. There
a caller's kernel, which runs already, may give it the address of a function and of its arguments,
and it begins within a microsecond.

The crew is an array of 64-bit integers, a line for each worker: what it does, the call that was
posted to it, how many of these it has made, and whether another is expected.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .compiling import inlined, kernel
from .waiting import FOREVER, LINE, exchange, look_for, read, wait, write

_STATE, _FUNCTION, _FRAME, _DONE, _EXPECTED = range(5)
# States. From _POSTED + 1 on, a call is posted: its number, by which nobody takes it for another.
_AWAY, _COMING, _LOOKING, _CHOSEN, _BUSY, _POSTED = range(6)
NOBODY = np.zeros(0, np.int64)
_POINTER = ir.IntType(8).as_pointer()


def new_crew(workers):
    """The crew of so many workers, none of whom has come."""
    return np.zeros(workers * LINE, np.int64)


def expect_calls(crew):
    """Let workers look for work a little longer; by number, whether each does. From Python."""
    crew[_EXPECTED::LINE] = 1
    return crew[_STATE::LINE] == _LOOKING


@intrinsic
def address_of_call(typingctx, function, arguments):
    """(function, frame): by these two addresses other threads call function(leads, *arguments).

    The frame lies on the stack of the function that this is inlined into: nobody may use it when
    that has returned.
    """
    signature = function.get_call_type(typingctx, (types.boolean, *arguments.types), {})

    def codegen(context, builder, sig, args):
        compiled = function.dispatcher.overloads[signature.args]
        context.active_code_library.add_linking_library(compiled.library)
        frame = cgutils.alloca_once_value(builder, args[1])
        entry = _entry(context, builder.module, compiled.fndesc, signature, args[1].type)
        addresses = [builder.ptrtoint(pointer, ir.IntType(64)) for pointer in (entry, frame)]
        return context.make_tuple(builder, sig.return_type, addresses)

    return types.UniTuple(types.int64, 2)(function, arguments), codegen


def _entry(context, module, described, signature, frame_type):
    """A function (frame, leads) -> whether the call failed."""
    flag = ir.IntType(1)
    kind = ir.FunctionType(flag, [_POINTER, flag])
    entry = ir.Function(module, kind, f"{described.mangled_name}.by_address")
    entry.linkage = "internal"
    entry.attributes.add("noinline")  # into the leader: one copy for all is enough
    builder = ir.IRBuilder(entry.append_basic_block())
    frame, leads = entry.args
    arguments = builder.load(builder.bitcast(frame, frame_type.as_pointer()))
    unpacked = cgutils.unpack_tuple(builder, arguments)
    status, _ = context.call_internal_no_propagate(
        builder, described, signature, [leads, *unpacked]
    )
    builder.ret(status.is_error)
    return entry


@intrinsic
def call_by_address(typingctx, function, frame, leads):
    """Call what `address_of_call` gave the addresses of; returns whether that failed."""
    flag = ir.IntType(1)

    def codegen(context, builder, sig, args):
        kind = ir.FunctionType(flag, [_POINTER, flag]).as_pointer()
        entry = builder.inttoptr(args[0], kind)
        return builder.call(entry, [builder.inttoptr(args[1], _POINTER), args[2]])

    return types.boolean(types.int64, types.int64, types.boolean), codegen


@kernel("expect_worker")
def expect_worker(crew, worker):
    """Let calls be posted to a worker that is about to wake."""
    exchange(crew, worker * LINE, _AWAY, _COMING)


@inlined
def post(crew, worker, function, frame):
    """Let a worker make a call that looks for work, or is about to.

    Returns the number of the call, for `finish`, or 0 if it does not, or another was quicker.
    """
    line = worker * LINE
    state = read(crew, line)
    if state != _LOOKING and state != _COMING or not exchange(crew, line, state, _CHOSEN):
        return np.int64(0)
    number = crew[line + _DONE] + 1
    crew[line + _FUNCTION], crew[line + _FRAME] = function, frame
    write(crew, line, _POSTED + number)
    return number


@inlined
def finish(crew, worker, number):
    """Return when a posted call has been made, or else will never be."""
    line = worker * LINE
    if read(crew, line + _DONE) < number:
        if not exchange(crew, line, _POSTED + number, _AWAY):
            look_for(crew, line + _DONE, number, FOREVER)


@inlined
def look_for_work(crew, worker, board, at, number, most):
    """By a worker: make the calls that are posted to it.

    Until `number` is written on its board, or nothing has come for so many looks as `most`, twice
    as many if a call was expected.
    """
    line, looks = worker * LINE, 0
    while True:
        state = read(crew, line)
        if state > _POSTED:
            if exchange(crew, line, state, _BUSY):
                call_by_address(crew[line + _FUNCTION], crew[line + _FRAME], False)
                write(crew, line + _DONE, crew[line + _DONE] + 1)
                write(crew, line, _LOOKING)
                looks = 0
        elif state < _LOOKING:
            exchange(crew, line, state, _LOOKING)
        elif looks < most and read(board, at) < number:
            wait(looks)
            looks += 1
            if looks == most and read(crew, line + _EXPECTED):
                write(crew, line + _EXPECTED, 0)
                looks = 0
        elif exchange(crew, line, _LOOKING, _AWAY):
            return
        else:  # somebody has chosen this one, and is about to post a call
            wait(looks)
