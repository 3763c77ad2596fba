"""What a block of the persistent schedule does at every step: wait, fetch, multiply.

A block owns some hidden units of some sequences. Its weights stay in shared memory, a row of
`depth` numbers for each of its columns. At a step it brings its sequences' vectors, which all
blocks of the same sequences wrote at the step before, to shared memory and multiplies: each
warp makes tiles of rows (sequences) × columns, and its lanes split the depth. So every access
of the hot loop is 32 lanes × 16 bytes in a row, without bank conflicts for any size; what
remains is to sum over the lanes. Where there are fewer tiles than warps the depth is also split
into parts, which whoever reads the sums adds up.
"""

from functools import cache

from numba import types

from .device import cuda, inlined
from .intrinsics import WARP, add_release, copy_access, lanes_of, load_acquire, tile_functions

COLUMNS = 8
"""Columns of a tile."""

THREADS = 256


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


@cache
def fetch(dtype):
    """A function (source, start, count, target, target_start) by which the block copies numbers."""
    lanes = lanes_of(dtype)

    @inlined
    def fetch_numbers(source, start, count, target, target_start):
        for i in range(cuda.threadIdx.x * lanes, count, THREADS * lanes):
            copy_access(source, start + i, target, target_start + i)

    return fetch_numbers


@cache
def block_product(rows, dtype):
    """A function by which the block multiplies, in tiles of `rows` × `COLUMNS`.

    (shared, w, a, sums, depth, row_tiles, column_tiles, parts, part_sums, pitch): the products
    of the rows of `depth` numbers from shared[a] on with those from shared[w] on. Part p's sum
    of row r and column c goes to shared[sums + p part_sums + r pitch + c].
    """
    zeros, accumulate, sum_over_lanes = tile_functions(rows, COLUMNS, dtype)
    lanes, size = lanes_of(dtype), rows * COLUMNS
    chunk = WARP * lanes
    share, copies = max(size // WARP, 1), max(WARP // size, 1)

    @inlined
    def multiply(shared, w, a, sums, depth, row_tiles, column_tiles, parts, part_sums, pitch):
        lane, warp = cuda.threadIdx.x % WARP, cuda.threadIdx.x // WARP
        chunks = (depth + chunk - 1) // chunk
        for item in range(warp, row_tiles * column_tiles * parts, THREADS // WARP):
            column = item % column_tiles * COLUMNS
            rest = item // column_tiles
            row, part = rest % row_tiles * rows, rest // row_tiles
            begin, end = part * chunks // parts * chunk, (part + 1) * chunks // parts * chunk
            a_row, w_row = a + row * depth, w + column * depth
            tile = zeros()
            for k in range(begin + lane * lanes, min(end, depth), chunk):
                tile = accumulate(tile, shared, a_row + k, depth, shared, w_row + k, depth)
            totals = sum_over_lanes(tile, lane)
            if lane % copies == 0:
                number = lane // copies * share
                at = sums + part * part_sums + (row + number // COLUMNS) * pitch
                at += column + number % COLUMNS
                for i in range(share):
                    shared[at + i] = totals[i]

    return multiply
