"""Matrix products of ours: by tensor cores, or by FFMA; for matrices of any size and layout.

A block makes a tile of the product. Its tiles of the factors come to shared memory as they lie
in global memory, some slices of the depth ahead of the multiplication, and by asynchronous copies
where the device has them. Where a product has fewer tiles than the device multiprocessors, its
depth is split: each part's sums go to memory of their own, and a second kernel adds them up, in
the same order always.
"""

from dataclasses import dataclass
from functools import cache

from numba import types

from .device import ELEMENTS, INTEGER, cuda, floats, inlined, working
from .intrinsics import ACCESS_BYTES, pointer_to
from .launching import Kernel
from .product_factor import WARP_ROWS, place_of
from .product_warp import make_warp, warp_functions
from .tensor_cores import (
    commit_copies,
    copy_async,
    load_shared,
    shared_address,
    store_shared,
    wait_for_copies,
)

THREADS = 128
STAGES = 3
"""Slices in shared memory: one that is multiplied, the others on their way."""

ASYNCHRONOUS = (8, 0)
"""Older devices have no asynchronous copies, nor all of the tensor cores' instructions."""

_WORDS = {2: types.uint16, 4: types.uint32, 8: types.uint64}
"""What numbers of so many bytes are copied as."""


@dataclass(frozen=True)
class Tiling:
    """Rows and columns of a block's tile; columns of a warp's."""

    rows: int
    columns: int
    warp_columns: int


LARGE, SMALL = Tiling(128, 64, 64), Tiling(64, 64, 32)


def tilings(dtype, tensor):
    """Those whose sums registers and shared memory hold, the largest first."""
    if tensor or dtype.itemsize == 4:
        return LARGE, SMALL
    return (LARGE,) if dtype.itemsize == 2 else (SMALL,)


@cache
def bring(factor, asynchronous):
    """A function (at, source, pitch, wide, first, end, k0, depth): the block's tile from outer
    number `first` and depth `k0` on begins to come to the shared address `at`.

    What is outside of the matrix is not read, and is 0. `wide` matrices' rows are multiples of
    16 bytes.
    """
    place, lanes, chunks = place_of(factor), factor.lanes, factor.chunks
    along_depth, size = factor.along_depth, factor.rows * factor.chunks
    zero = _WORDS[factor.dtype.itemsize](0)

    @inlined
    def bring_tile(at, source, pitch, wide, first, end, k0, depth):
        for i in range(cuda.threadIdx.x, size, THREADS):
            row, chunk = i // chunks, i % chunks
            if along_depth:
                outer, outer_end, inner, inner_end = first + row, end, k0 + chunk * lanes, depth
            else:
                outer, outer_end, inner, inner_end = k0 + row, depth, first + chunk * lanes, end
            count = min(max(inner_end - inner, 0), lanes) if outer < outer_end else 0
            index, target = outer * pitch + inner, at + place(row, chunk)
            if asynchronous and wide:
                copy_async(target, source, index if count else 0, count)
            else:
                for n in range(lanes):
                    store_shared(target, n, source[index + n] if n < count else zero)

    return bring_tile


@cache
def product_kernel(dtype, a_along, b_along, tensor, tiling, asynchronous):
    """A kernel; grid: (tiles of rows, tiles of columns, parts of `slices` slices of the depth).

    a_along, b_along : whether the rows of a, the columns of b are contiguous
    out : rows × columns numbers; or, where there are several parts, `partial` (parts, rows,
        columns), of `working` dtype
    """
    warp = make_warp(dtype, a_along, b_along, tensor, tiling)
    a, b = warp.a, warp.b
    zeros, accumulate, put = warp_functions(warp, tiling.columns)
    bring_a, bring_b = bring(a, asynchronous), bring(b, asynchronous)
    wait = wait_for_copies(STAGES - 2)
    element, load = ELEMENTS[dtype], load_shared(ELEMENTS[dtype])
    stage, pitch, slice_ = a.bytes + b.bytes, warp.pitch(tiling.columns), a.depth
    shared_words = max(8 * STAGES * stage, tiling.rows * pitch * element.bitwidth) // 64
    tile_rows, tile_columns, b_distance = tiling.rows, tiling.columns, a.bytes
    warp_columns, warps_across = tiling.warp_columns, tiling.columns // tiling.warp_columns

    def run(
        rows, columns, depth, a, a_pitch, a_wide, b, b_pitch, b_wide, out, add, partial, slices
    ):  # fmt: skip
        memory = cuda.shared.array(shared_words, types.uint64, alignment=ACCESS_BYTES)
        at = shared_address(pointer_to(memory))
        warp, lane = cuda.threadIdx.x // 32, cuda.threadIdx.x % 32
        row, column = warp // warps_across * WARP_ROWS, warp % warps_across * warp_columns
        first_row, first_column = cuda.blockIdx.x * tile_rows, cuda.blockIdx.y * tile_columns
        begin = cuda.blockIdx.z * slices
        end = min(begin + slices, (depth + slice_ - 1) // slice_)
        sums = zeros()
        for coming in range(begin, end + STAGES - 1):
            current = coming - (STAGES - 1)
            if current >= begin:
                if asynchronous:
                    wait()
                cuda.syncthreads()
            if coming < end:
                to, k = at + coming % STAGES * stage, coming * slice_
                bring_a(to, a, a_pitch, a_wide, first_row, rows, k, depth)
                bring_b(to + b_distance, b, b_pitch, b_wide, first_column, columns, k, depth)
            if asynchronous:
                commit_copies()
            if current >= begin:
                a_at = at + current % STAGES * stage
                sums = accumulate(sums, lane, row, column, a_at, a_at + b_distance)
        cuda.syncthreads()
        put(sums, lane, row, column, at)
        cuda.syncthreads()
        for i in range(cuda.threadIdx.x, tile_rows * tile_columns, THREADS):
            r, c = i // tile_columns, i % tile_columns
            if first_row + r < rows and first_column + c < columns:
                total = load(at, r * pitch + c)
                index = (first_row + r) * columns + first_column + c
                if cuda.gridDim.z > 1:
                    partial[cuda.blockIdx.z * rows * columns + index] = total
                else:
                    out[index] = out[index] + total if add else total

    f, p, i = types.CPointer(_WORDS[dtype.itemsize]), floats(working(dtype)), INTEGER
    layout = ("n" if a_along else "t") + ("t" if b_along else "n")
    name = f"{'tensor_' if tensor else ''}product_{layout}_{tile_rows}x{tile_columns}"
    identity = f"{name} {dtype} asynchronous={asynchronous}"
    return Kernel(identity, run, (i, i, i, f, i, i, f, i, i, floats(dtype), i, p, i))


@cache
def sum_kernel(dtype):
    """The kernel that adds up the parts of a product."""

    def run(size, parts, partial, out, add):
        i = cuda.grid(1)
        if i < size:
            total = partial[i]
            for part in range(1, parts):
                total += partial[part * size + i]
            out[i] = out[i] + total if add else total

    f, p, i = floats(dtype), floats(working(dtype)), INTEGER
    return Kernel(f"product_sum {dtype}", run, (i, i, p, f, i))
