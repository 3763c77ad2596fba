"""Vectors for Numba: a type whose values are LLVM vectors, as wide as the host's registers.

A function of scalars in plain Python, compiled for arguments of this type, works on a whole
vector at a time. Nothing is left to the compiler's judgement: LLVM's own loop vectoriser
gives up on the many arrays of a recurrent step, since it would have to prove them disjoint.
"""

import operator
import os

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import (
    intrinsic,
    lower_builtin,
    models,
    register_model,
    type_callable,
)


def _register_bytes():
    """Width in bytes of the host's vector registers; GPURNN_VECTOR_BYTES overrides (16, 32, 64)."""
    forced = os.environ.get("GPURNN_VECTOR_BYTES")
    if forced:
        if forced not in ("16", "32", "64"):
            raise ValueError(f"GPURNN_VECTOR_BYTES: expected 16, 32 or 64, got {forced!r}")
        return int(forced)
    llvm.initialize_native_target()
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return 64
    return 32 if features.get("avx2") and features.get("fma") else 16


REGISTER_BYTES = _register_bytes()


def lanes_of(dtype):
    """How many numbers of a NumPy dtype one vector holds."""
    return REGISTER_BYTES // np.dtype(dtype).itemsize


class Vector(types.Type):
    """`lanes` floats in one register."""

    def __init__(self, element):
        self.element = element
        self.lanes = REGISTER_BYTES * 8 // element.bitwidth
        super().__init__(name=f"Vector({element} x {self.lanes})")


class Mask(types.Type):
    """`lanes` truth values: what comparing two vectors gives."""

    def __init__(self, lanes):
        self.lanes = lanes
        super().__init__(name=f"Mask({lanes})")


def _float_ir(element):
    return ir.FloatType() if element.bitwidth == 32 else ir.DoubleType()


def vector_ir(vector):
    return ir.VectorType(_float_ir(vector.element), vector.lanes)


def _integer_ir(vector):
    return ir.VectorType(ir.IntType(vector.element.bitwidth), vector.lanes)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, vector_ir(fe_type))


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, ir.VectorType(ir.IntType(1), fe_type.lanes))


def splat(builder, scalar, lanes):
    seed = ir.Constant(ir.VectorType(scalar.type, lanes), ir.Undefined)
    one = builder.insert_element(seed, scalar, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    return builder.shuffle_vector(one, seed, zeros)


def _as_vector(context, builder, value, ty, vector):
    if ty == vector:
        return value
    return splat(builder, context.cast(builder, value, ty, vector.element), vector.lanes)


def _common(*operands):
    """The one vector type among operands of which the rest are numbers; None if there is none."""
    vectors = {t for t in operands if isinstance(t, Vector)}
    if len(vectors) == 1 and all(isinstance(t, (Vector, types.Number)) for t in operands):
        return vectors.pop()
    return None


def _register_binary(op, instruction, result):
    @type_callable(op)
    def _type(context):
        def typer(a, b):
            vector = _common(a, b)
            return vector and result(vector)

        return typer

    def lower(context, builder, sig, args):
        vector = _common(*sig.args)
        a, b = (_as_vector(context, builder, v, t, vector) for v, t in zip(args, sig.args))
        return instruction(builder, a, b)

    for pair in ((Vector, Vector), (Vector, types.Number), (types.Number, Vector)):
        lower_builtin(op, *pair)(lower)


def _comparison(symbol):
    # "unordered or not equal" for !=, ordered for the rest: what IEEE and Python say of NaN.
    compare = ir.IRBuilder.fcmp_unordered if symbol == "!=" else ir.IRBuilder.fcmp_ordered
    return lambda builder, a, b: compare(builder, symbol, a, b)


for _op, _instruction in (
    (operator.add, ir.IRBuilder.fadd),
    (operator.sub, ir.IRBuilder.fsub),
    (operator.mul, ir.IRBuilder.fmul),
    (operator.truediv, ir.IRBuilder.fdiv),
):
    _register_binary(_op, _instruction, lambda vector: vector)
for _op, _symbol in (
    (operator.lt, "<"),
    (operator.le, "<="),
    (operator.gt, ">"),
    (operator.ge, ">="),
    (operator.eq, "=="),
    (operator.ne, "!="),
):
    _register_binary(_op, _comparison(_symbol), lambda vector: Mask(vector.lanes))


@type_callable(operator.neg)
def _type_neg(context):
    return lambda a: a if isinstance(a, Vector) else None


@lower_builtin(operator.neg, Vector)
def _lower_neg(context, builder, sig, args):
    return builder.fneg(args[0])


@intrinsic
def select(typingctx, mask, a, b):
    """`a` where the mask is true, `b` elsewhere."""
    vector = _common(a, b)
    if not isinstance(mask, Mask) or vector is None:
        return None

    def codegen(context, builder, sig, args):
        yes, no = (
            _as_vector(context, builder, v, t, vector) for v, t in zip(args[1:], sig.args[1:])
        )
        return builder.select(args[0], yes, no)

    return vector(mask, a, b), codegen


def declare(builder, name, function_type):
    """The function of LLVM's, or of the program's, of this name, for calls of it."""
    existing = builder.module.globals.get(name)
    return existing or ir.Function(builder.module, function_type, name)


def llvm_call(builder, name, vector_type, args):
    suffix = "f32" if isinstance(vector_type.element, ir.FloatType) else "f64"
    function_type = ir.FunctionType(vector_type, [vector_type] * len(args))
    return builder.call(
        declare(builder, f"llvm.{name}.v{vector_type.count}{suffix}", function_type), args
    )


def _vector_function(name, arity, doc):
    def typed(vector, *operands):
        def codegen(context, builder, sig, args):
            values = [_as_vector(context, builder, v, t, vector) for v, t in zip(args, sig.args)]
            return llvm_call(builder, name, vector_ir(vector), values)

        return vector(*operands), codegen

    if arity == 1:

        def function(typingctx, a):
            return typed(a, a) if isinstance(a, Vector) else None
    else:

        def function(typingctx, a, b, c):
            vector = _common(a, b, c)
            return typed(vector, a, b, c) if vector else None

    function.__doc__ = doc
    return intrinsic(function)


fma = _vector_function("fma", 3, "a * b + c, rounded once.")
sqrt = _vector_function("sqrt", 1, "Square root.")
absolute = _vector_function("fabs", 1, "Absolute value.")


def array_data(context, builder, array_type, array):
    """The pointer to an array's first number."""
    return context.make_array(array_type)(context, builder, array).data


def _pointer(context, builder, array_type, array, index, target):
    data = array_data(context, builder, array_type, array)
    return builder.bitcast(builder.gep(data, [index]), target.as_pointer())


def _array_vector(array):
    if isinstance(array, types.Array) and isinstance(array.dtype, types.Float):
        return Vector(array.dtype)
    return None


@intrinsic
def load(typingctx, array, index):
    """The vector that begins at `index` of a contiguous 1-d array."""
    vector = _array_vector(array)
    if vector is None:
        return None

    def codegen(context, builder, sig, args):
        pointer = _pointer(context, builder, array, *args, vector_ir(vector))
        return builder.load(pointer, align=vector.element.bitwidth // 8)

    return vector(array, types.intp), codegen


@intrinsic
def store(typingctx, array, index, value):
    """Write the vector `value` from `index` on."""
    vector = _array_vector(array)
    if vector is None or _common(vector, value) != vector:
        return None

    def codegen(context, builder, sig, args):
        pointer = _pointer(context, builder, array, *args[:2], vector_ir(vector))
        full = _as_vector(context, builder, args[2], value, vector)
        builder.store(full, pointer, align=vector.element.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen


def _first_lanes(builder, count, lanes):
    numbers = ir.Constant(ir.VectorType(ir.IntType(64), lanes), list(range(lanes)))
    return builder.icmp_signed("<", numbers, splat(builder, count, lanes))


def _masked_name(kind, vector):
    suffix = f"v{vector.lanes}f{vector.element.bitwidth}.p0"
    return f"llvm.masked.{kind}.{suffix}"


def masked_load(builder, vector, pointer, count):
    """Emit the load of the first `count` lanes; the others are 0."""
    full = vector_ir(vector)
    mask = _first_lanes(builder, count, vector.lanes)
    signature = ir.FunctionType(full, [pointer.type, ir.IntType(32), mask.type, full])
    function = declare(builder, _masked_name("load", vector), signature)
    align = ir.Constant(ir.IntType(32), vector.element.bitwidth // 8)
    zero = ir.Constant(full, [0.0] * vector.lanes)
    return builder.call(function, [pointer, align, mask, zero])


def masked_store(builder, vector, value, pointer, count):
    """Emit the store of the first `count` lanes."""
    mask = _first_lanes(builder, count, vector.lanes)
    signature = ir.FunctionType(
        ir.VoidType(), [value.type, pointer.type, ir.IntType(32), mask.type]
    )
    function = declare(builder, _masked_name("store", vector), signature)
    align = ir.Constant(ir.IntType(32), vector.element.bitwidth // 8)
    builder.call(function, [value, pointer, align, mask])


@intrinsic
def load_part(typingctx, array, index, count):
    """As `load`, of the first `count` lanes only: the others are 0, their memory is not touched."""
    vector = _array_vector(array)
    if vector is None:
        return None

    def codegen(context, builder, sig, args):
        pointer = _pointer(context, builder, array, *args[:2], vector_ir(vector))
        return masked_load(builder, vector, pointer, args[2])

    return vector(array, types.intp, types.intp), codegen


@intrinsic
def store_part(typingctx, array, index, value, count):
    """As `store`, of the first `count` lanes only; the memory of the others is not touched."""
    vector = _array_vector(array)
    if vector is None or value != vector:
        return None

    def codegen(context, builder, sig, args):
        pointer = _pointer(context, builder, array, *args[:2], vector_ir(vector))
        masked_store(builder, vector, args[2], pointer, args[3])
        return context.get_dummy_value()

    return types.void(array, types.intp, value, types.intp), codegen


@intrinsic
def load_each(typingctx, arrays, index, count):
    """From each of a tuple of arrays the vector at `index`, its first `count` lanes."""
    if not isinstance(arrays, types.UniTuple) or _array_vector(arrays.dtype) is None:
        return None
    vector = _array_vector(arrays.dtype)

    def codegen(context, builder, sig, args):
        values = []
        for array in cgutils.unpack_tuple(builder, args[0]):
            pointer = _pointer(context, builder, arrays.dtype, array, args[1], vector_ir(vector))
            values.append(masked_load(builder, vector, pointer, args[2]))
        return context.make_tuple(builder, sig.return_type, values)

    return types.UniTuple(vector, len(arrays))(arrays, types.intp, types.intp), codegen


@intrinsic
def store_each(typingctx, arrays, index, values, count):
    """Write each vector of a tuple into the array of the same place in `arrays`."""
    if not isinstance(arrays, types.UniTuple) or len(values) > len(arrays):
        return None
    vector = _array_vector(arrays.dtype)

    def codegen(context, builder, sig, args):
        targets = cgutils.unpack_tuple(builder, args[0])
        for array, value in zip(targets, cgutils.unpack_tuple(builder, args[2])):
            pointer = _pointer(context, builder, arrays.dtype, array, args[1], vector_ir(vector))
            masked_store(builder, vector, value, pointer, args[3])
        return context.get_dummy_value()

    return types.void(arrays, types.intp, values, types.intp), codegen


def _across_lanes(combine, doc):
    """A function of a vector: all of its lanes combined, in the fixed order of a balanced tree."""

    def across(typingctx, a):
        if not isinstance(a, Vector):
            return None

        def codegen(context, builder, sig, args):
            value, lanes = args[0], a.lanes
            while lanes > 1:
                lanes //= 2
                wide = value.type.count
                order = ir.VectorType(ir.IntType(32), lanes)
                low, high = (
                    builder.shuffle_vector(value, value, ir.Constant(order, list(part)))
                    for part in (range(lanes), range(lanes, wide))
                )
                value = combine(builder, low, high)
            return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))

        return a.element(a), codegen

    across.__doc__ = doc
    return intrinsic(across)


def _larger(builder, a, b):
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


sum_lanes = _across_lanes(ir.IRBuilder.fadd, "The sum of a vector's lanes.")
largest_lane = _across_lanes(_larger, "The largest of a vector's lanes; NaN is not heeded.")


@intrinsic
def broadcast(typingctx, like, value):
    """A vector like `like` (a vector, or an array of its numbers), `value` in every lane."""
    vector = like if isinstance(like, Vector) else _array_vector(like)
    if vector is None or not isinstance(value, types.Number):
        return None

    def codegen(context, builder, sig, args):
        return _as_vector(context, builder, args[1], value, vector)

    return vector(like, value), codegen


def polynomial(coefficients):
    """A function of a vector: the polynomial with these coefficients, the constant one first.

    Evaluated as pairs a + b x, and these by Horner's rule in x²: a chain half as long as
    Horner's rule in x, for one multiplication more.
    """

    def evaluate(typingctx, x):
        if not isinstance(x, Vector):
            return None

        def codegen(context, builder, sig, args):
            vector, variable = vector_ir(x), args[0]
            terms = [ir.Constant(vector, [c] * x.lanes) for c in coefficients]
            pairs = [
                llvm_call(builder, "fma", vector, (variable, odd, even))
                for even, odd in zip(terms[::2], terms[1::2])
            ]
            pairs += [terms[-1]] if len(terms) % 2 else []
            square = builder.fmul(variable, variable)
            value = pairs.pop()
            while pairs:
                value = llvm_call(builder, "fma", vector, (value, square, pairs.pop()))
            return value

        return x(x), codegen

    return intrinsic(evaluate)


def _integers(builder, vector, value):
    return builder.bitcast(value, _integer_ir(vector))


def _to_exponent(builder, vector, integers):
    """The integers' low bits, moved to where a float has its sign and exponent."""
    mantissa = 23 if vector.element.bitwidth == 32 else 52
    return builder.shl(integers, ir.Constant(integers.type, [mantissa] * vector.lanes))


@intrinsic
def power_of_two(typingctx, shifted, factor):
    """factor · 2 ** (n - bias), for the integer n in the low bits of the vector `shifted`.

    The bias is the format's, 127 or 1023. n may be negative, but the result must be a normal
    number; it is exact, and costs no multiplication. Bits above n's are shifted out.
    """
    if not isinstance(shifted, Vector) or not isinstance(factor, types.Number):
        return None

    def codegen(context, builder, sig, args):
        n = _integers(builder, shifted, args[0])
        factors = _as_vector(context, builder, args[1], factor, shifted)
        one = ir.Constant(vector_ir(shifted), [1.0] * shifted.lanes)
        times = builder.sub(*(_integers(builder, shifted, v) for v in (factors, one)))
        power = builder.add(_to_exponent(builder, shifted, n), times)
        return builder.bitcast(power, vector_ir(shifted))

    return shifted(shifted, factor), codegen


@intrinsic
def split_power_of_two(typingctx, shifted):
    """Two powers of two, with the product 2 ** (n - 2 bias), n and bias as in `power_of_two`.

    Their product need not be representable; n may be from 2 to four times the bias.
    """
    if not isinstance(shifted, Vector):
        return None

    def codegen(context, builder, sig, args):
        n = _integers(builder, shifted, args[0])
        half = builder.lshr(n, ir.Constant(n.type, [1] * shifted.lanes))
        first = _to_exponent(builder, shifted, half)
        second = builder.sub(_to_exponent(builder, shifted, n), first)
        powers = [builder.bitcast(power, vector_ir(shifted)) for power in (first, second)]
        return context.make_tuple(builder, sig.return_type, powers)

    return types.UniTuple(shifted, 2)(shifted), codegen


@intrinsic
def with_sign_of(typingctx, a, b):
    """`a`, which must not be negative, with the sign of `b`."""
    if not isinstance(a, Vector) or a != b:
        return None

    def codegen(context, builder, sig, args):
        size, sign = _integers(builder, a, args[0]), _integers(builder, a, args[1])
        mask = ir.Constant(sign.type, [1 << (a.element.bitwidth - 1)] * a.lanes)
        return builder.bitcast(builder.or_(size, builder.and_(sign, mask)), vector_ir(a))

    return a(a, b), codegen
