"""Products of reduced weights by the processor's own instructions for 16-bit numbers.

They multiply pairs and sum in 32 bits, twice as many numbers an instruction as there are floats.
The inputs become 16-bit numbers first, with as little loss as that allows:
- to meet bfloat16, two bfloat16 a number, upper and lower part: 16 bits of mantissa;
- to meet int8, whole numbers, the largest of them 32767.
"""

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from .compiling import inlined
from .dots import ACCUMULATORS, dot_rows, index_ir, loop, row_pointers, sum_each
from .simd import (
    REGISTER_BYTES,
    Vector,
    absolute,
    array_data,
    broadcast,
    declare,
    largest_lane,
    load_part,
    masked_load,
    select,
    sum_lanes,
    vector_ir,
)
from .views import flattened

STEP = REGISTER_BYTES // 2  # 16-bit numbers in a register
_SHORT = ir.IntType(16)
_SHORTS, _PAIRS = ir.VectorType(_SHORT, STEP), ir.VectorType(ir.IntType(32), STEP // 2)


class _BFloat(ir.types.Type):
    """LLVM's own type, which llvmlite lacks."""

    def __str__(self):
        return "bfloat"


# By the weights' type: what the processor must have for it, the instruction, its operands' type.
_INSTRUCTIONS = {
    types.uint16: (
        "avx512bf16", "llvm.x86.avx512bf16.dpbf16ps.512", ir.VectorType(_BFloat(), STEP),
    ),
    types.int8: ("avx512vnni", "llvm.x86.avx512.vpdpwssd.512", _PAIRS),
}  # fmt: skip


def has_short_dots(dtype):
    """Whether there is an instruction for weights of this Numba type: of 512 bits, in LLVM 16."""
    if dtype not in _INSTRUCTIONS or REGISTER_BYTES != 64 or llvm.llvm_version_info[0] < 16:
        return False
    return llvm.get_host_cpu_features().get(_INSTRUCTIONS[dtype][0], False)


@intrinsic
def dot_short_rows(typingctx, w, start, pitch, valid, inputs, first, depth):
    """As `dot_rows`, of reduced weights and inputs[first :] as `inputs_for` makes them.

    `depth` is that of padded rows: whole registers.
    """
    vector = Vector(types.float32)
    wide, floats = vector_ir(vector), w.dtype != types.int8
    _, name, operand = _INSTRUCTIONS[w.dtype]
    sums_type = wide if floats else _PAIRS

    def multiply(builder, total, a, b):
        function = declare(builder, name, ir.FunctionType(sums_type, [sums_type, operand, operand]))
        return builder.call(function, [total, *(builder.bitcast(v, operand) for v in (a, b))])

    def codegen(context, builder, sig, args):
        w_data, x_data = (array_data(context, builder, sig.args[i], args[i]) for i in (0, 4))
        rows = row_pointers(builder, w_data, *args[1:4], vector.lanes)
        across, length = builder.gep(x_data, [args[5]]), args[6]

        def numbers(base, k):
            place = builder.gep(base, [k])
            if base.type.pointee == _SHORT:
                return builder.load(builder.bitcast(place, _SHORTS.as_pointer()), align=2)
            bytes_ = ir.VectorType(ir.IntType(8), STEP)
            narrow = builder.load(builder.bitcast(place, bytes_.as_pointer()), align=1)
            return builder.sext(narrow, _SHORTS)

        def sums_of(some):
            def turn(k, sums):
                weights = [numbers(row, k) for row in some]
                for part in range(2 if floats else 1):
                    x = numbers(across, builder.add(k, builder.mul(length, index_ir(part))))
                    sums = [multiply(builder, s, x, weight) for s, weight in zip(sums, weights)]
                return sums

            zeros = [ir.Constant(sums_type, [0] * vector.lanes)] * len(some)
            _, sums = loop(builder, index_ir(0), length, STEP, zeros, turn)
            return sums if floats else [builder.sitofp(s, wide) for s in sums]

        groups = (rows[r : r + ACCUMULATORS] for r in range(0, vector.lanes, ACCUMULATORS))
        return sum_each(builder, [s for group in groups for s in sums_of(group)], vector)

    intp = types.intp
    return vector(w, intp, intp, intp, inputs, intp, intp), codegen


@intrinsic
def _store_parts(typingctx, x, index, count, target, at, apart):
    """The upper and the lower bfloat16 of `count` floats, zeros for the rest of a vector."""
    vector = Vector(types.float32)

    def codegen(context, builder, sig, args):
        pointer = builder.gep(array_data(context, builder, x, args[0]), [args[1]])
        pointer = builder.bitcast(pointer, vector_ir(vector).as_pointer())
        value, place = masked_load(builder, vector, pointer, args[2]), args[4]
        sixteen = ir.Constant(_PAIRS, [16] * vector.lanes)
        for _ in range(2):
            upper = builder.lshr(builder.bitcast(value, _PAIRS), sixteen)
            _store_shorts(context, builder, target, args[3], place, upper)
            place = builder.add(place, args[5])
            whole = builder.bitcast(builder.shl(upper, sixteen), vector_ir(vector))
            value = builder.fsub(value, whole)
        return context.get_dummy_value()

    intp = types.intp
    return types.void(x, intp, intp, target, intp, intp), codegen


@intrinsic
def _store_rounded(typingctx, value, target, at):
    """The vector's numbers, rounded to whole ones of 16 bits."""

    def codegen(context, builder, sig, args):
        wide = vector_ir(value)
        rint = declare(builder, "llvm.rint.v16f32", ir.FunctionType(wide, [wide]))
        # Saturating, since what others do with NaN is undefined.
        to_integers = declare(
            builder, "llvm.fptosi.sat.v16i32.v16f32", ir.FunctionType(_PAIRS, [wide])
        )
        integers = builder.call(to_integers, [builder.call(rint, [args[0]])])
        _store_shorts(context, builder, target, args[1], args[2], integers)
        return context.get_dummy_value()

    return types.void(value, target, types.intp), codegen


def _store_shorts(context, builder, target, array, at, integers):
    narrow = ir.VectorType(_SHORT, integers.type.count)
    place = builder.gep(array_data(context, builder, target, array), [at])
    pointer = builder.bitcast(place, narrow.as_pointer())
    builder.store(builder.trunc(integers, narrow), pointer, align=2)


@inlined
def _split(x, first, depth, padded, target, at):
    """x[first :], `depth` numbers, as two rows of `padded` bfloat16 in target[at :]."""
    for k in range(0, padded, STEP // 2):
        some = max(0, min(STEP // 2, depth - k))
        _store_parts(x, first + min(k, depth), some, target, at + k, padded)


@inlined
def _round(x, first, depth, padded, target, at):
    """x[first :], `depth` numbers, as `padded` whole numbers in target[at :]; returns their unit.

    It is NaN where one of x is none, or infinite.
    """
    largest = not_finite = broadcast(x, 0)
    for k in range(0, depth, STEP // 2):
        value = load_part(x, first + k, depth - k)
        size = absolute(value)
        largest = select(size > largest, size, largest)
        not_finite = not_finite + (value - value)
    most = largest_lane(largest)
    # A lane sums a pair of products at each step: 127 times these must not overflow 32 bits.
    levels = np.float32(min(32767, (2**31 - 1) // (254 * (padded // STEP))))
    unit = np.float32(most / levels)
    per_unit = np.float32(levels / most if most > 0 else 0)
    for k in range(0, padded, STEP // 2):
        some = max(0, min(STEP // 2, depth - k))
        _store_rounded(load_part(x, first + min(k, depth), some) * per_unit, target, at + k)
    return unit + sum_lanes(not_finite)


def inputs_for(w, x, offsets, count, depth):
    """`count` rows of x, row r from offsets[r] on, as `dot_inputs` wants them for the weights w."""


@overload(inputs_for)
def _overload_inputs_for(w, x, offsets, count, depth):
    if not has_short_dots(w.dtype):
        return lambda w, x, offsets, count, depth: (x, offsets)
    if w.dtype == types.int8:

        def rounded(w, x, offsets, count, depth):
            padded = w.shape[1]
            numbers, units = np.empty(count * padded, np.int16), np.empty(count, np.float32)
            for r in range(count):
                units[r] = _round(x, offsets[r], depth, padded, numbers, r * padded)
            return numbers, units

        return rounded

    def halves(w, x, offsets, count, depth):
        padded = w.shape[1]
        numbers = np.empty(count * 2 * padded, np.int16)
        for r in range(count):
            _split(x, offsets[r], depth, padded, numbers, r * 2 * padded)
        return numbers, offsets

    return halves


def dot_inputs(w, row, valid, inputs, r, depth):
    """Lane i: the dot product of row number `row` + i of w (rows, ...) and row r of the inputs.

    For the rest see `dot_rows`.
    """


@overload(dot_inputs)
def _overload_dot_inputs(w, row, valid, inputs, r, depth):
    if not has_short_dots(w.dtype):

        def as_floats(w, row, valid, inputs, r, depth):
            x, offsets = inputs
            pitch = w.shape[1]
            return dot_rows(flattened(w), row * pitch, pitch, valid, x, offsets[r], depth)

        return as_floats
    if w.dtype == types.int8:

        def of_rounded(w, row, valid, inputs, r, depth):
            numbers, units = inputs
            pitch = w.shape[1]
            product = dot_short_rows(
                flattened(w), row * pitch, pitch, valid, numbers, r * pitch, pitch
            )
            return product * units[r]

        return of_rounded

    def of_halves(w, row, valid, inputs, r, depth):
        pitch = w.shape[1]
        return dot_short_rows(
            flattened(w), row * pitch, pitch, valid, inputs[0], r * 2 * pitch, pitch
        )

    return of_halves
