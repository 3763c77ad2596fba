"""Short words for what intrinsics write: LLVM code for whole numbers, vectors, tuples.

`builder` is llvmlite's; whole numbers are of 32 bits and not negative, but for constants, which
are Python's.
"""

from llvmlite import ir

INT32 = ir.IntType(32)


def constant(value):
    return ir.Constant(INT32, value)


def plus(builder, *numbers):
    """The sum of numbers, of which those of Python come last."""
    first, *others = numbers
    for other in others:
        first = builder.add(first, constant(other) if isinstance(other, int) else other)
    return first


def times(builder, n, factor):
    return builder.mul(n, constant(factor))


def split(builder, n, by):
    """(n // by, n % by), by a power of two."""
    bits = by.bit_length() - 1
    return builder.lshr(n, constant(bits)), builder.and_(n, constant(by - 1))


def bit(builder, n, place):
    """1 if the bit of n that is worth `place` is set, else 0."""
    return builder.and_(split(builder, n, place)[0], constant(1))


def load_vector(builder, pointer, element, count, align):
    """`count` values of a type, side by side, at once."""
    to = ir.PointerType(ir.VectorType(element, count), pointer.type.addrspace)
    loaded = builder.load(builder.bitcast(pointer, to), align=align)
    return [builder.extract_element(loaded, constant(i)) for i in range(count)]


def store_vector(builder, pointer, values, align):
    """The values side by side, at once."""
    vector = ir.Constant(ir.VectorType(values[0].type, len(values)), ir.Undefined)
    for i, value in enumerate(values):
        vector = builder.insert_element(vector, value, constant(i))
    to = ir.PointerType(vector.type, pointer.type.addrspace)
    builder.store(vector, builder.bitcast(pointer, to), align=align)


def packed(builder, values):
    """Numba's tuple of values of one type."""
    made = ir.Constant(ir.ArrayType(values[0].type, len(values)), ir.Undefined)
    for i, value in enumerate(values):
        made = builder.insert_value(made, value, i)
    return made


def unpacked(builder, values, count):
    """The values of Numba's tuple."""
    return [builder.extract_value(values, i) for i in range(count)]
