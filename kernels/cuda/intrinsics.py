"""Instructions that Numba has no name for: 16-byte accesses, tiles in registers, memory order.

Tiles are tuples of numbers, so that they live in registers: each intrinsic writes out its loop
over a tile, and every index is a constant.
"""

from functools import cache

from llvmlite import ir
from numba import types

from .device import ELEMENTS, intrinsic
from .emitting import packed, store_vector, unpacked

WARP = 32
ACCESS_BYTES = 16
"""What a thread loads or stores at once, the most there is."""

_INT32 = ir.IntType(32)


def lanes_of(dtype):
    """How many numbers of a dtype one access moves."""
    return ACCESS_BYTES // dtype.itemsize


def chunk_of(dtype):
    """How many numbers of a dtype one access of all lanes of a warp moves."""
    return WARP * lanes_of(dtype)


def column_pitch(dtype):
    """Numbers from one column's chunk to the next in shared memory: 16 bytes more than a chunk,
    so that lanes that fill eight columns at once write to different banks."""
    return chunk_of(dtype) + lanes_of(dtype)


def _float_ir(element):
    return ir.FloatType() if element.bitwidth == 32 else ir.DoubleType()


def _at(builder, pointer, offset, to):
    """The address `offset` numbers behind `pointer`, as one of values of type `to`."""
    return builder.bitcast(builder.gep(pointer, [offset]), to.as_pointer())


def _declared(builder, name, result, arguments):
    existing = builder.module.globals.get(name)
    return existing or ir.Function(builder.module, ir.FunctionType(result, arguments), name)


@intrinsic
def pointer_to(typingctx, array):
    """A pointer to an array's first number."""

    def codegen(context, builder, signature, arguments):
        made = context.make_array(signature.args[0])(context, builder, arguments[0])
        return made.data

    return types.CPointer(array.dtype)(array), codegen


@intrinsic
def copy_access(typingctx, source, source_index, target, target_index):
    """Copy 16 bytes; both addresses are multiples of 16."""

    def codegen(context, builder, signature, arguments):
        source, source_index, target, target_index = arguments
        vector = ir.VectorType(_INT32, ACCESS_BYTES // 4)
        value = builder.load(_at(builder, source, source_index, vector), align=ACCESS_BYTES)
        builder.store(value, _at(builder, target, target_index, vector), align=ACCESS_BYTES)
        return context.get_dummy_value()

    return types.void(source, types.int64, target, types.int64), codegen


@intrinsic
def clear_access(typingctx, target, target_index):
    """Store 16 bytes of zeros at once; the address is a multiple of 16."""

    def codegen(context, builder, signature, arguments):
        vector = ir.VectorType(_INT32, ACCESS_BYTES // 4)
        address = _at(builder, *arguments, vector)
        builder.store(ir.Constant(vector, None), address, align=ACCESS_BYTES)
        return context.get_dummy_value()

    return types.void(target, types.int64), codegen


@intrinsic
def put_pair(typingctx, pointer, index, a, b):
    """Store two float32 at once; the index is even, and the pointer's address a multiple of 8."""

    def codegen(context, builder, signature, arguments):
        pointer, index, *pair = arguments
        store_vector(builder, builder.gep(pointer, [index]), pair, 8)
        return context.get_dummy_value()

    return types.void(pointer, types.int64, a, b), codegen


@cache
def tile_functions(rows, columns, dtype):
    """(zeros, accumulate, sum_over_lanes) of a tile of rows × columns sums.

    - zeros() -> the tile
    - accumulate(tile, pointer, a, w) -> the tile plus, for each row r and column c, the products
      of the 16 bytes of numbers from pointer[a + r chunk] on with those from
      pointer[w + c pitch] on (see `chunk_of`, `column_pitch`)
    - sum_over_lanes(tile, lane) -> of the warp's 32 tiles' sum, `lane`'s share: numbers
      lane size // 32 and following, in the order of rows. Where the tile has fewer than 32
      numbers, lanes hold copies.
    """
    element, lanes, size = ELEMENTS[dtype], lanes_of(dtype), rows * columns
    number, chunk, pitch = _float_ir(element), chunk_of(dtype), column_pitch(dtype)
    tile = types.UniTuple(element, size)
    share = types.UniTuple(element, max(size // WARP, 1))

    @intrinsic
    def zeros(typingctx):
        def codegen(context, builder, signature, arguments):
            return packed(builder, [ir.Constant(number, 0.0)] * size)

        return tile(), codegen

    @intrinsic
    def accumulate(typingctx, sums, pointer, a, w):
        def codegen(context, builder, signature, arguments):
            sums, pointer, a, w = arguments
            vector = ir.VectorType(number, lanes)
            fma = _declared(builder, f"llvm.fma.f{element.bitwidth}", number, [number] * 3)

            def numbers(start, distance):
                # The distance is a constant, so it becomes part of the instruction.
                address = builder.gep(builder.gep(pointer, [start]), [_INT32(distance)])
                address = builder.bitcast(address, vector.as_pointer())
                loaded = builder.load(address, align=ACCESS_BYTES)
                return [builder.extract_element(loaded, ir.Constant(_INT32, i))
                        for i in range(lanes)]  # fmt: skip

            factors = [numbers(a, row * chunk) for row in range(rows)]
            totals = unpacked(builder, sums, size)
            for column in range(columns):
                weights = numbers(w, column * pitch)
                for k in range(lanes):
                    for row in range(rows):
                        i = row * columns + column
                        totals[i] = builder.call(fma, [factors[row][k], weights[k], totals[i]])
            return packed(builder, totals)

        return tile(tile, pointer, types.int64, types.int64), codegen

    def from_lane(builder, value, mask):
        """`value` as the lane has it whose number differs in the bits of `mask`."""
        exchange = _declared(builder, "llvm.nvvm.shfl.sync.bfly.i32", _INT32, [_INT32] * 4)
        rest = [ir.Constant(_INT32, n) for n in (mask, 0x1F)]
        everyone = ir.Constant(_INT32, -1)
        if element.bitwidth == 32:
            bits = builder.bitcast(value, _INT32)
            return builder.bitcast(builder.call(exchange, [everyone, bits, *rest]), number)
        pair = ir.VectorType(_INT32, 2)
        halves, moved = builder.bitcast(value, pair), ir.Constant(pair, ir.Undefined)
        for i in range(2):
            half = builder.extract_element(halves, ir.Constant(_INT32, i))
            half = builder.call(exchange, [everyone, half, *rest])
            moved = builder.insert_element(moved, half, ir.Constant(_INT32, i))
        return builder.bitcast(moved, number)

    @intrinsic
    def sum_over_lanes(typingctx, sums, lane):
        def codegen(context, builder, signature, arguments):
            sums, lane = arguments
            values = unpacked(builder, sums, size)
            for mask in (16, 8, 4, 2, 1):
                if len(values) == 1:
                    values = [builder.fadd(values[0], from_lane(builder, values[0], mask))]
                    continue
                # A lane keeps one half of its numbers and gives its partner the other.
                bit = builder.and_(lane, ir.Constant(lane.type, mask))
                upper = builder.icmp_signed("!=", bit, ir.Constant(lane.type, 0))
                half = len(values) // 2
                values = [
                    builder.fadd(
                        builder.select(upper, b, a),
                        from_lane(builder, builder.select(upper, a, b), mask),
                    )
                    for a, b in zip(values[:half], values[half:])
                ]
            return packed(builder, values)

        return share(tile, types.int64), codegen

    return zeros, accumulate, sum_over_lanes


def _assembly(builder, text, constraints, result, arguments):
    function = ir.FunctionType(result, [a.type for a in arguments])
    return builder.asm(function, text, constraints, arguments, side_effect=True)


@intrinsic
def block_z(typingctx):
    """`cuda.blockIdx.z`, read anew: what is chosen by it need not stay in registers."""

    def codegen(context, builder, signature, arguments):
        return _assembly(builder, "mov.u32 $0, %ctaid.z;", "=r", _INT32, [])

    return types.uint32(), codegen


@intrinsic
def add_release(typingctx, pointer, index, value):
    """Add to pointer[index]; whoever acquires the sum sees all that the thread saw before."""

    def codegen(context, builder, signature, arguments):
        pointer, index, value = arguments
        text = "red.release.gpu.global.add.u32 [$0], $1;"
        address = builder.gep(pointer, [index])
        _assembly(builder, text, "l,r,~{memory}", ir.VoidType(), [address, value])
        return context.get_dummy_value()

    return types.void(types.CPointer(types.uint32), types.int64, types.uint32), codegen


@intrinsic
def load_acquire(typingctx, pointer, index):
    """Read pointer[index], before all that the thread reads later; pairs with `add_release`."""

    def codegen(context, builder, signature, arguments):
        text = "ld.acquire.gpu.global.u32 $0, [$1];"
        address = builder.gep(arguments[0], [arguments[1]])
        return _assembly(builder, text, "=r,l,~{memory}", _INT32, [address])

    return types.uint32(types.CPointer(types.uint32), types.int64), codegen
