"""What a warp does with a slice of a product's depth by FFMA; see `product_warp`."""

from dataclasses import dataclass

from llvmlite import ir

from .device import ELEMENTS
from .emitting import INT32, constant, plus, split, store_vector, times
from .intrinsics import ACCESS_BYTES
from .product_factor import SLICE_CHUNKS, WARP_ROWS, Factor
from .tensor_cores import shared_pointer

LANE_ROWS, LANE_COLUMNS = 4, 8
"""How a warp's lanes lie over its tile."""


@dataclass(frozen=True)
class FusedWarp:
    """Each lane has 8 rows and an eighth of the warp's columns."""

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
    def _shape(self):
        """Sums of a lane."""
        return WARP_ROWS // LANE_ROWS, self.columns // LANE_COLUMNS

    @property
    def count(self):
        rows, columns = self._shape
        return rows * columns

    @property
    def _group(self):
        """Columns of a lane that stand side by side."""
        return 1 if self.b.along_depth else self.b.lanes

    def pitch(self, columns):
        return columns if self._group > 1 else columns + LANE_COLUMNS // self.a.lanes

    def _first(self, builder, lane, row, column):
        """The lane's first row and column."""
        y, x = split(builder, lane, LANE_COLUMNS)
        row = plus(builder, row, times(builder, y, self.a.lanes))
        return row, plus(builder, column, times(builder, x, self._group))

    def multiply(self, builder, lane, row, column, a_at, b_at, totals):
        rows, columns = self._shape
        name = f"llvm.fma.f{self.element.bitwidth}"
        fma = builder.module.globals.get(name) or ir.Function(
            builder.module, ir.FunctionType(self._number, [self._number] * 3), name
        )
        row, column = self._first(builder, lane, row, column)
        of_a = (self.a, a_at, row, LANE_ROWS, self.a.lanes, rows)
        of_b = (self.b, b_at, column, LANE_COLUMNS, self._group, columns)
        for chunk in range(SLICE_CHUNKS):
            a, b = (self._numbers(builder, *factor, chunk) for factor in (of_a, of_b))
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
            return plus(builder, first, i // group * lanes * group + i % group)

        if factor.along_depth:
            return [load(outer(i), constant(chunk)) for i in range(count)]
        by_depth = []
        for k in range(chunk * factor.lanes, (chunk + 1) * factor.lanes):
            numbers = []
            for i in range(0, count, group):
                start, _ = split(builder, outer(i), factor.lanes)
                numbers += load(constant(k), start)
            by_depth.append(numbers)
        return list(zip(*by_depth))

    def _widened(self, builder, bits):
        """A number as it is stored, as one of those computed with."""
        dtype = self.a.dtype
        if dtype.itemsize > 2:
            return builder.bitcast(bits, self._number)
        if dtype.name == "float16":
            return builder.fpext(builder.bitcast(bits, ir.HalfType()), self._number)
        wide = builder.shl(builder.zext(bits, INT32), constant(16))
        return builder.bitcast(wide, self._number)

    def put(self, builder, lane, row, column, at, pitch, totals):
        (rows, columns), group, lanes = self._shape, self._group, self.a.lanes
        size = self.element.bitwidth // 8
        width = min(group, ACCESS_BYTES // size)
        row, column = self._first(builder, lane, row, column)
        first = plus(builder, times(builder, row, pitch), column)
        at = plus(builder, at, times(builder, first, size))
        for i in range(rows):
            for j in range(0, columns, width):
                distance = (i // lanes * LANE_ROWS * lanes + i % lanes) * pitch
                distance += j // group * LANE_COLUMNS * group + j % group
                pointer = shared_pointer(builder, at, self._number, size * distance)
                start = i * columns + j
                store_vector(builder, pointer, totals[start : start + width], size * width)
