"""The products of the persistent schedule by tensor cores: as in `persistent_block`, but for tiles.

A tile is 16 sequences × 8 columns. Weights and fetched rows are of the dtype (of float32: rounded
to tf32), their sums float32. A chunk of a row or column is followed by 16 bytes, so that eight of
them, loaded at once, meet in no bank.
"""

from functools import cache

from llvmlite import ir
from numba import types

from .device import cuda, inlined, intrinsic
from .emitting import load_vector, packed, plus, store_vector, unpacked
from .intrinsics import ACCESS_BYTES, WARP, copy_access, put_pair
from .persistent_block import COLUMNS, THREADS, WARPS, sums_tile
from .tensor_cores import (
    convert,
    kind_of,
    load_matrices,
    multiply_fragments,
    shared_address,
)
from .tuples import repeat

TILE_ROWS = 16

CHUNK = 128
"""Numbers of the depth in a chunk."""

_SLICE_BYTES = 64
"""Of the depth: what two instructions multiply."""


def slot_words(dtype):
    """Words of 4 bytes from one row's or column's chunk to the next."""
    return (CHUNK * dtype.itemsize + ACCESS_BYTES) // 4


@cache
def put_rounded(kind):
    """A function (source, index, target, word): 4 float32 numbers from source[index] on, rounded
    to a kind, to the words of `target` from `word` on."""

    @intrinsic
    def put(typingctx, source, index, target, word):
        def codegen(context, builder, signature, arguments):
            source, index, target, word = arguments
            at = builder.gep(source, [index])
            numbers = load_vector(builder, at, ir.FloatType(), 4, ACCESS_BYTES)
            together = 1 if kind == "tf32" else 2
            registers = [convert(builder, kind, *numbers[i : i + together])
                         for i in range(0, 4, together)]  # fmt: skip
            at = builder.gep(target, [word])
            store_vector(builder, at, registers, 4 * len(registers))
            return context.get_dummy_value()

        return types.void(source, types.int64, target, types.int64), codegen

    return put


@cache
def put_one(kind):
    """A function (value, target, word, index): a float32, rounded to a kind, to number `index` of
    those that begin at a word of `target`."""

    @intrinsic
    def put(typingctx, value, target, word, index):
        def codegen(context, builder, signature, arguments):
            value, target, word, index = arguments
            if kind == "tf32":
                register = convert(builder, kind, value)
            else:
                zero = ir.Constant(value.type, 0.0)
                register = builder.trunc(convert(builder, kind, value, zero), ir.IntType(16))
            at = builder.bitcast(builder.gep(target, [word]), register.type.as_pointer())
            builder.store(register, builder.gep(at, [index]))
            return context.get_dummy_value()

        return types.void(types.float32, target, types.int64, types.int64), codegen

    return put


@cache
def accumulate_slice(kind):
    """A function (sums, a, w) -> the lane's 4 sums plus the products of `_SLICE_BYTES` of depth.

    Lane l gives the shared addresses a, of row l % 16's first or, from lane 16 on, second 16
    bytes, and w, of column l % 8's 16 bytes number l // 8.
    """
    sums = types.UniTuple(types.float32, 4)

    @intrinsic
    def accumulate(typingctx, totals, a, w):
        def codegen(context, builder, signature, arguments):
            totals, a, w = arguments
            found = unpacked(builder, totals, 4)
            columns = load_matrices(builder, w)
            for half in range(2):
                at = plus(builder, a, half * _SLICE_BYTES // 2)
                rows = load_matrices(builder, at)
                pair = columns[2 * half : 2 * half + 2]
                found = multiply_fragments(builder, kind, rows, pair, found)
            return packed(builder, found)

        return sums(sums, types.int32, types.int32), codegen

    return accumulate


@cache
def fetch(dtype, of_states):
    """See `persistent_tiles.Tiles.fetch`; what is float32 is rounded on the way."""
    itemsize, slot = dtype.itemsize, slot_words(dtype)
    of_states = of_states or itemsize == 4
    numbers = ACCESS_BYTES // (4 if of_states else itemsize)
    pieces, words = CHUNK // numbers, numbers * itemsize // 4
    put, zero = put_rounded(kind_of(dtype)), types.float32(0)

    @inlined
    def fetch_rows(source, start, count, stride, depth, shared, a, rows, chunks):
        for i in range(cuda.threadIdx.x, count * chunks * pieces, THREADS):
            piece, rest = i % pieces, i // pieces
            row, c = rest // chunks, rest % chunks
            k = c * CHUNK + piece * numbers
            target = a + (c * rows + row) * slot + piece * words
            if k < depth:
                if of_states:
                    put(source, start + row * stride + k, shared, target)
                else:
                    copy_access(source, start + row * stride + k, shared, target)
            else:
                for word in range(words):
                    shared[target + word] = zero

    return fetch_rows


@cache
def place_weight(dtype):
    """See `persistent_tiles.Tiles.place_weight`."""
    slot, put = slot_words(dtype), put_one(kind_of(dtype))

    @inlined
    def place(shared, at, column, k, chunks, weight):
        tile, c = column // COLUMNS, k // CHUNK
        slots = (tile * chunks + c) * COLUMNS + column % COLUMNS
        put(weight, shared, at + slots * slot, k % CHUNK)

    return place


@cache
def block_product(dtype):
    """See `persistent_tiles.Tiles.product`."""
    slot, accumulate = 4 * slot_words(dtype), accumulate_slice(kind_of(dtype))
    no_sums = repeat(4)
    chunk_bytes = CHUNK * dtype.itemsize

    @inlined
    def multiply(shared, w, a, sums, rows, chunks, row_tiles, column_tiles, parts, pitch):
        base, lane = shared_address(shared), cuda.threadIdx.x % WARP
        for item in range(cuda.threadIdx.x // WARP, row_tiles * column_tiles * parts, WARPS):
            column_tile, rest = item % column_tiles, item // column_tiles
            first_row, part = rest % row_tiles * TILE_ROWS, rest // row_tiles
            begin, end = part * chunks // parts, (part + 1) * chunks // parts
            # Rows that the block does not have give sums that nobody wants: any will do.
            row = min(first_row + lane % TILE_ROWS, rows - 1)
            a_at = base + 4 * a + (begin * rows + row) * slot
            a_at += lane // TILE_ROWS * ACCESS_BYTES
            column = (column_tile * chunks + begin) * COLUMNS + lane % COLUMNS
            w_at = base + 4 * w + column * slot + lane // COLUMNS * ACCESS_BYTES
            tile = no_sums(types.float32(0))
            for _ in range(begin, end):
                for distance in range(0, chunk_bytes, _SLICE_BYTES):
                    tile = accumulate(tile, a_at + distance, w_at + distance)
                a_at += rows * slot
                w_at += COLUMNS * slot
            row = first_row + lane // 4
            at = sums + (part * rows + row) * pitch + lane % 4 * 2
            at += sums_tile(column_tile, row, pitch) * COLUMNS
            for half in range(2):
                if row + 8 * half < rows:
                    put_pair(shared, at + 8 * half * pitch, tile[2 * half], tile[2 * half + 1])

    return multiply
