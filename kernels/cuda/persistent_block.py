"""What a block of the persistent schedule does at every step: wait, fetch, multiply.

A block owns some hidden units of some sequences. Its weights stay in shared memory, a vector for
each of its columns. At a step it brings its sequences' vectors, which all blocks of the same
sequences wrote at the step before, to shared memory and multiplies: each warp makes tiles of
rows (sequences) × columns, and its lanes split the depth. Both kinds of vectors are cut into
chunks, of 16 bytes a lane: so every access of the hot loop is 32 lanes × 16 bytes in a row,
without bank conflicts for any size, at a constant distance from the next; what remains is to
sum over the lanes. Where there are fewer tiles than warps the depth is also split
into parts, which whoever reads the sums adds up.
"""

from functools import cache

from numba import types

from .device import cuda, inlined
from .intrinsics import (
    WARP,
    add_release,
    chunk_of,
    clear_access,
    column_pitch,
    copy_access,
    lanes_of,
    load_acquire,
    put_pair,
    tile_functions,
)

COLUMNS = 8
"""Columns of a tile."""

THREADS = 256
WARPS = THREADS // WARP


@inlined
def arrive(counters, counter):
    """Tell the other blocks that this one's numbers of the step are in memory."""
    cuda.syncthreads()
    if cuda.threadIdx.x == 0:
        add_release(counters, counter, types.uint32(1))


@inlined
def wait(counters, counter, arrivals):
    """Wait until there have been so many arrivals; then all that they told of can be read.

    The counter only grows, so nobody needs to reset it. The thread that polls acquires; the
    block's barrier passes that on to the other threads.
    """
    if cuda.threadIdx.x == 0:
        while load_acquire(counters, counter) < types.uint32(arrivals):
            pass
    cuda.syncthreads()


@inlined
def sums_tile(column_tile, row, pitch):
    """In place of which tile a row keeps the sums of a tile.

    Four rows, stored at once, and what a warp reads of one row or two are then in different banks
    for every pitch that plans have.
    """
    return column_tile ^ (row >> 1 & 1) if pitch % WARP == WARP // 2 else column_tile


@cache
def fetch(dtype):
    """See `persistent_tiles.Tiles.fetch`."""
    lanes, chunk = lanes_of(dtype), chunk_of(dtype)

    @inlined
    def fetch_rows(source, start, count, stride, depth, shared, a, rows, chunks):
        lane = cuda.threadIdx.x % WARP * lanes
        for i in range(cuda.threadIdx.x // WARP, count * chunks, WARPS):
            row, c = i // chunks, i % chunks
            k = c * chunk + lane
            target = a + (c * rows + row) * chunk + lane
            if k < depth:
                copy_access(source, start + row * stride + k, shared, target)
            else:
                clear_access(shared, target)

    return fetch_rows


@cache
def place_weight(dtype):
    """See `persistent_tiles.Tiles.place_weight`."""
    chunk, pitch = chunk_of(dtype), column_pitch(dtype)

    @inlined
    def place(shared, at, column, k, chunks, weight):
        tile, c = column // COLUMNS, k // chunk
        slots = (tile * chunks + c) * COLUMNS + column % COLUMNS
        shared[at + slots * pitch + k % chunk] = weight

    return place


@cache
def block_product(tile_rows, dtype):
    """See `persistent_tiles.Tiles.product`."""
    zeros, accumulate, sum_over_lanes = tile_functions(tile_rows, COLUMNS, dtype)
    lanes, chunk, size = lanes_of(dtype), chunk_of(dtype), tile_rows * COLUMNS
    step = COLUMNS * column_pitch(dtype)
    share, copies = max(size // WARP, 1), max(WARP // size, 1)

    @inlined
    def multiply(shared, w, a, sums, rows, chunks, row_tiles, column_tiles, parts, pitch):
        lane = cuda.threadIdx.x % WARP
        for item in range(cuda.threadIdx.x // WARP, row_tiles * column_tiles * parts, WARPS):
            column_tile, rest = item % column_tiles, item // column_tiles
            row, part = rest % row_tiles * tile_rows, rest // row_tiles
            begin, end = part * chunks // parts, (part + 1) * chunks // parts
            a_at = a + (begin * rows + row) * chunk + lane * lanes
            w_at = w + (column_tile * chunks + begin) * step + lane * lanes
            tile = zeros()
            for c in range(begin, end):
                tile = accumulate(tile, shared, a_at, w_at)
                a_at += rows * chunk
                w_at += step
            totals = sum_over_lanes(tile, lane)
            if lane % copies == 0:
                number = lane // copies * share
                row += number // COLUMNS
                at = sums + (part * rows + row) * pitch + number % COLUMNS
                at += sums_tile(column_tile, row, pitch) * COLUMNS
                if share == 2:
                    put_pair(shared, at, totals[0], totals[1])
                else:
                    shared[at] = totals[0]

    return multiply
