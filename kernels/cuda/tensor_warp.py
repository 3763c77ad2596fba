"""What a warp does with a slice of a product's depth by tensor cores; see `product_warp`."""

from dataclasses import dataclass

from llvmlite import ir
from numba import types

from .emitting import INT32, bit, plus, split, store_vector, times
from .product_factor import WARP_ROWS, Factor
from .tensor_cores import convert, kind_of, load_matrices, multiply_fragments, shared_pointer


@dataclass(frozen=True)
class TensorWarp:
    """With sums in float32, in tiles of 16 rows by 8 columns; float32 is rounded to tf32."""

    a: Factor
    b: Factor
    columns: int

    element = types.float32

    @property
    def count(self):
        return WARP_ROWS * self.columns // 32

    def pitch(self, columns):
        return columns + 8

    def multiply(self, builder, lane, row, column, a_at, b_at, totals):
        kind = kind_of(self.a.dtype)
        for half in range(2):
            a = [
                self._fragment(builder, self.a, a_at, lane, plus(builder, row, first), half, 8, 16)
                for first in range(0, WARP_ROWS, 16)
            ]
            b = []
            for first in range(0, self.columns, 16):
                outer = plus(builder, column, first)
                pair = self._fragment(builder, self.b, b_at, lane, outer, half, 16, 8)
                b += [pair[:2], pair[2:]]
            for i, rows in enumerate(a):
                for j, columns in enumerate(b):
                    sums = slice(4 * (i * len(b) + j), 4 * (i * len(b) + j + 1))
                    totals[sums] = multiply_fragments(builder, kind, rows, columns, totals[sums])
        return totals

    def _fragment(self, builder, factor, at, lane, outer, half, outer_bit, depth_bit):
        """4 registers, of 16 outer numbers by half a slice.

        Each is of 8 outer numbers by a quarter of the slice: as lanes 0, 8, 16, 24 say of it, of
        the second 8 if `outer_bit` is set, of the half's second quarter if `depth_bit` is.
        """
        if factor.dtype.itemsize == 4 and not factor.along_depth:
            registers = self._plain_fragment(builder, factor, at, lane, outer, half, outer_bit)
        else:
            within = split(builder, lane, 8)[1]
            next_outer, next_depth = (bit(builder, lane, b) for b in (outer_bit, depth_bit))
            if factor.along_depth:
                row = plus(builder, outer, within, times(builder, next_outer, 8))
                chunk = plus(builder, next_depth, 2 * half)
            else:
                row = plus(builder, within, times(builder, next_depth, 8), 16 * half)
                chunk = plus(builder, split(builder, outer, 8)[0], next_outer)
            address = plus(builder, at, factor.place(builder, row, chunk))
            registers = load_matrices(builder, address, transposed=not factor.along_depth)
        if factor.dtype.itemsize == 4:
            registers = [convert(builder, "tf32", register) for register in registers]
        return registers

    def _plain_fragment(self, builder, factor, at, lane, outer, half, outer_bit):
        """The same, number by number: `load_matrices` transposes none of 32 bits."""
        g, q = split(builder, lane, 4)
        registers = []
        for i in range(4):
            next_outer, next_depth = (i % 2, i // 2) if outer_bit == 8 else (i // 2, i % 2)
            row = plus(builder, q, 8 * half + 4 * next_depth)
            chunk, rest = split(builder, plus(builder, outer, g, 8 * next_outer), factor.lanes)
            place = factor.place(builder, row, chunk)
            address = plus(builder, at, place, times(builder, rest, 4))
            registers.append(builder.load(shared_pointer(builder, address, INT32)))
        return registers

    def put(self, builder, lane, row, column, at, pitch, totals):
        g, q = split(builder, lane, 4)
        row, column = plus(builder, row, g), plus(builder, column, times(builder, q, 2))
        first = plus(builder, times(builder, row, pitch), column)
        at, tiles = plus(builder, at, times(builder, first, 4)), self.columns // 8
        for start in range(0, len(totals), 2):
            tile, second = start // 4, start % 4 // 2
            distance = (tile // tiles * 16 + 8 * second) * pitch + tile % tiles * 8
            pointer = shared_pointer(builder, at, ir.FloatType(), 4 * distance)
            store_vector(builder, pointer, totals[start : start + 2], 8)
