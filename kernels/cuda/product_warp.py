"""What a warp does with a slice of a product's depth: by FFMA, or by tensor cores.

A warp makes `WARP_ROWS` rows by some columns of the product, whose sums stay in its registers;
`row` and `column` are the first of them in the block's tile. All functions write LLVM code.
"""

from dataclasses import dataclass

from llvmlite import ir
from numba import types

from .device import ELEMENTS, intrinsic
from .intrinsics import ACCESS_BYTES
from .product_factor import SLICE_CHUNKS, Factor
from .tensor_cores import (
    INT32,
    convert,
    load_matrices,
    multiply_fragments,
    shared_pointer,
)

WARP_ROWS = 32
LANE_ROWS, LANE_COLUMNS = 4, 8
"""How a warp's lanes lie over its tile where they multiply by FFMA."""


def _constant(value):
    return ir.Constant(INT32, value)


def _split(builder, n, by):
    """(n // by, n % by) of a number that is not negative, by a power of two."""
    bits = by.bit_length() - 1
    return builder.lshr(n, _constant(bits)), builder.and_(n, _constant(by - 1))


@dataclass(frozen=True)
class FusedWarp:
    """By FFMA: each lane has 8 rows and an eighth of the warp's columns."""

    a: Factor
    b: Factor
    columns: int

    @property
    def element(self):
        return ELEMENTS[self.a.dtype]

    @property
    def _number(self):
        return ir.FloatType() if self.element.bitwidth == 32 else ir.DoubleType()

    @property
    def shape(self):
        """Sums of a lane."""
        return WARP_ROWS // LANE_ROWS, self.columns // LANE_COLUMNS

    @property
    def count(self):
        return self.shape[0] * self.shape[1]

    @property
    def _group(self):
        """Columns of a lane that stand side by side."""
        return 1 if self.b.along_depth else self.b.lanes

    def pitch(self, columns):
        """Numbers from one row of the block's sums to the next, for `put` without conflicts."""
        return columns if self._group > 1 else columns + LANE_COLUMNS // self.a.lanes

    def multiply(self, builder, lane, row, column, a_at, b_at, totals):
        (y, x), (rows, columns) = _split(builder, lane, LANE_COLUMNS), self.shape
        name = f"llvm.fma.f{self.element.bitwidth}"
        fma = builder.module.globals.get(name) or ir.Function(
            builder.module, ir.FunctionType(self._number, [self._number] * 3), name
        )
        row = builder.add(row, builder.mul(y, _constant(self.a.lanes)))
        column = builder.add(column, builder.mul(x, _constant(self._group)))
        for chunk in range(SLICE_CHUNKS):
            a = self._numbers(builder, self.a, a_at, row, LANE_ROWS, self.a.lanes, rows, chunk)
            b = self._numbers(builder, self.b, b_at, column, LANE_COLUMNS, self._group, columns,
                              chunk)  # fmt: skip
            for k in range(self.a.lanes):
                for i in range(rows):
                    for j in range(columns):
                        at = i * columns + j
                        totals[at] = builder.call(fma, [a[i][k], b[j][k], totals[at]])
        return totals

    def _numbers(self, builder, factor, at, first, lanes, group, count, chunk):
        """[outer][k]: the lane's rows of a, or columns of b, along a chunk of the depth.

        They are `group` side by side from `first` on, and again `lanes` groups further.
        """

        def load(row, chunk):
            bits = ir.IntType(8 * factor.dtype.itemsize)
            loaded = factor.load(builder, at, row, chunk, bits, factor.lanes)
            return [self._widened(builder, number) for number in loaded]

        def outer(i):
            return builder.add(first, _constant(i // group * lanes * group + i % group))

        if factor.along_depth:
            return [load(outer(i), _constant(chunk)) for i in range(count)]
        by_depth = []
        for k in range(chunk * factor.lanes, (chunk + 1) * factor.lanes):
            numbers = []
            for i in range(0, count, group):
                start, _ = _split(builder, outer(i), factor.lanes)
                numbers += load(_constant(k), start)
            by_depth.append(numbers)
        return list(zip(*by_depth))

    def _widened(self, builder, bits):
        """A number as it is stored, as one of those computed with."""
        dtype = self.a.dtype
        if dtype.itemsize > 2:
            return builder.bitcast(bits, self._number)
        if dtype.name == "float16":
            return builder.fpext(builder.bitcast(bits, ir.HalfType()), self._number)
        wide = builder.shl(builder.zext(bits, INT32), _constant(16))
        return builder.bitcast(wide, self._number)

    def put(self, builder, lane, row, column, at, pitch, totals):
        (y, x), (rows, columns), group = (
            _split(builder, lane, LANE_COLUMNS),
            self.shape,
            self._group,
        )
        size, lanes = self.element.bitwidth // 8, self.a.lanes
        width = min(group, ACCESS_BYTES // size)
        row = builder.add(row, builder.mul(y, _constant(lanes)))
        column = builder.add(column, builder.mul(x, _constant(group)))
        first = builder.add(builder.mul(row, _constant(pitch)), column)
        at = builder.add(at, builder.mul(first, _constant(size)))
        for i in range(rows):
            for j in range(0, columns, width):
                distance = (i // lanes * LANE_ROWS * lanes + i % lanes) * pitch
                distance += j // group * LANE_COLUMNS * group + j % group
                start = i * columns + j
                _store(builder, at, size * distance, totals[start : start + width])


@dataclass(frozen=True)
class TensorWarp:
    """By tensor cores, with sums in float32; of float32 numbers the products are tf32's."""

    a: Factor
    b: Factor
    columns: int

    element = types.float32

    @property
    def _kind(self):
        return "tf32" if self.a.dtype.itemsize == 4 else self.a.dtype.name

    @property
    def count(self):
        return WARP_ROWS * self.columns // 32

    def pitch(self, columns):
        """Numbers from one row of the block's sums to the next, for `put` without conflicts."""
        return columns + 8

    def multiply(self, builder, lane, row, column, a_at, b_at, totals):
        for step in range(2):
            a = [self._fragment(builder, self.a, a_at, lane, row, first, step, (8, 16))
                 for first in range(0, WARP_ROWS, 16)]  # fmt: skip
            b = []
            for first in range(0, self.columns, 16):
                pair = self._fragment(builder, self.b, b_at, lane, column, first, step, (16, 8))
                b += [pair[:2], pair[2:]]
            for i, rows in enumerate(a):
                for j, columns in enumerate(b):
                    at = 4 * (i * len(b) + j)
                    totals[at : at + 4] = multiply_fragments(
                        builder, self._kind, rows, columns, totals[at : at + 4]
                    )
        return totals

    def _fragment(self, builder, factor, at, lane, outer, first, step, lane_bits):
        """4 registers of 16 outer numbers and half a slice; they are of the matrices where, in
        turn, the outer numbers' second half comes at one of `lane_bits`, the depth's at the other.
        """
        outer_bit, depth_bit = lane_bits
        outer = builder.add(outer, _constant(first))
        if factor.dtype.itemsize == 4 and not factor.along_depth:
            registers = self._plain_fragment(builder, factor, at, lane, outer, step, outer_bit)
        else:
            _, within = _split(builder, lane, 8)
            second_outer = _bit(builder, lane, outer_bit)
            second_depth = _bit(builder, lane, depth_bit)
            if factor.along_depth:
                row = builder.add(builder.add(outer, within), _times(builder, second_outer, 8))
                chunk = builder.add(second_depth, _constant(2 * step))
            else:
                row = builder.add(within, _times(builder, second_depth, 8))
                row = builder.add(row, _constant(16 * step))
                chunk = builder.add(_split(builder, outer, 8)[0], second_outer)
            address = builder.add(at, factor.place(builder, row, chunk))
            registers = load_matrices(builder, address, transposed=not factor.along_depth)
        if self._kind == "tf32":
            registers = [convert(builder, "tf32", register) for register in registers]
        return registers

    def _plain_fragment(self, builder, factor, at, lane, outer, step, outer_bit):
        """The same, number by number: `load_matrices` transposes none of 32 bits."""
        g, q = _split(builder, lane, 4)
        registers = []
        for i in range(4):
            second_outer, second_depth = (i % 2, i // 2) if outer_bit == 8 else (i // 2, i % 2)
            number = builder.add(builder.add(outer, g), _constant(8 * second_outer))
            row = builder.add(q, _constant(8 * step + 4 * second_depth))
            chunk, rest = _split(builder, number, factor.lanes)
            address = builder.add(at, factor.place(builder, row, chunk))
            address = builder.add(address, _times(builder, rest, 4))
            registers.append(builder.load(shared_pointer(builder, address, INT32)))
        return registers

    def put(self, builder, lane, row, column, at, pitch, totals):
        g, q = _split(builder, lane, 4)
        row, column = builder.add(row, g), builder.add(column, _times(builder, q, 2))
        first = builder.add(builder.mul(row, _constant(pitch)), column)
        at, tiles = builder.add(at, _times(builder, first, 4)), self.columns // 8
        for start in range(0, len(totals), 2):
            tile, half = start // 4, start % 4 // 2
            distance = (tile // tiles * 16 + 8 * half) * pitch + tile % tiles * 8
            _store(builder, at, 4 * distance, totals[start : start + 2])


def _times(builder, n, factor):
    return builder.mul(n, _constant(factor))


def _bit(builder, n, bit):
    """1 if a bit of n is set, else 0."""
    return builder.and_(_split(builder, n, bit)[0], _constant(1))


def _store(builder, address, offset, values):
    """Store values side by side, at once."""
    vector = ir.VectorType(values[0].type, len(values))
    packed = ir.Constant(vector, ir.Undefined)
    for i, value in enumerate(values):
        packed = builder.insert_element(packed, value, _constant(i))
    size = {"float": 4, "double": 8}[str(values[0].type)]
    pointer = shared_pointer(builder, address, vector, offset)
    builder.store(packed, pointer, align=size * len(values))


def warp_functions(warp, tile_columns):
    """(zeros, accumulate, put) for a block's tile of so many columns.

    - zeros() -> the lane's sums
    - accumulate(sums, lane, row, column, a_at, b_at) -> the sums plus a slice's products, of the
      tiles at the shared addresses a_at, b_at
    - put(sums, lane, row, column, at): the sums to the block's tile in shared memory
    """
    sums, integer = types.UniTuple(warp.element, warp.count), types.int32
    pitch = warp.pitch(tile_columns)

    def unpacked(builder, packed):
        return [builder.extract_value(packed, i) for i in range(warp.count)]

    def packed(builder, values):
        made = ir.Constant(ir.ArrayType(values[0].type, warp.count), ir.Undefined)
        for i, value in enumerate(values):
            made = builder.insert_value(made, value, i)
        return made

    @intrinsic
    def zeros(typingctx):
        def codegen(context, builder, signature, arguments):
            number = context.get_value_type(warp.element)
            return packed(builder, [ir.Constant(number, 0.0)] * warp.count)

        return sums(), codegen

    @intrinsic
    def accumulate(typingctx, totals, lane, row, column, a_at, b_at):
        def codegen(context, builder, signature, arguments):
            totals, *where = arguments
            return packed(builder, warp.multiply(builder, *where, unpacked(builder, totals)))

        return sums(sums, *(integer,) * 5), codegen

    @intrinsic
    def put(typingctx, totals, lane, row, column, at):
        def codegen(context, builder, signature, arguments):
            totals, *where = arguments
            warp.put(builder, *where, pitch, unpacked(builder, totals))
            return context.get_dummy_value()

        return types.void(sums, *(integer,) * 4), codegen

    return zeros, accumulate, put
