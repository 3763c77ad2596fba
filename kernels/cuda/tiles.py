"""Products of a step, a tile of COLUMNS hidden units by ROWS sequences a block of threads.

Both functions walk over the depth of the product in slices that the block brings to shared
memory together, and give each thread the sums for its own unit and sequence. All threads of the
block must call them. Threads of a warp have consecutive units and share a sequence: the weights'
tile is read without bank conflicts, the states' as a broadcast. A block's units are of one head.
"""

from functools import cache

from .device import ELEMENTS, cuda, inlined, working
from .tuples import add_products, repeat

COLUMNS, ROWS = 32, 8
BLOCK = (COLUMNS, ROWS, 1)
_SHARED_BYTES = 40 * 1024  # of the 48 KiB that every device has


def grid(hidden, batch, heads=1):
    """Blocks to cover all heads' hidden units and all sequences."""
    return (-(-hidden // COLUMNS), -(-batch // ROWS), heads)


@inlined
def own_place():
    """(sequence, row of its head among all sequences' heads, unit of the head) of the thread."""
    b = cuda.blockIdx.y * ROWS + cuda.threadIdx.y
    j = cuda.blockIdx.x * COLUMNS + cuda.threadIdx.x
    return b, b * cuda.gridDim.z + cuda.blockIdx.z, j


@inlined
def among_all(j, hidden):
    """Which of all heads' units is unit j of the thread's head of `hidden`; how many they are."""
    return cuda.blockIdx.z * hidden + j, cuda.gridDim.z * hidden


@cache
def gates_product(count, dtype):
    """A function (a, row, w, hidden, depth, valid) -> for each gate g the sum over k of
    a[row + k] * w[(g heads hidden + unit) depth + k], of a unit of all heads': a head's state times
    its transposed weights."""
    element = ELEMENTS[dtype]
    pitch = COLUMNS + 1  # a column more than needed puts a column's numbers into different banks
    fits = count * pitch * 32 * working(dtype).itemsize <= _SHARED_BYTES
    slice_ = 32 if fits else 8
    tile_size, row_size, threads = count * slice_ * pitch, ROWS * slice_, COLUMNS * ROWS
    accumulate, zeros = add_products(count), repeat(count)

    @inlined
    def product(a, row, w, hidden, depth, valid):
        w_tile = cuda.shared.array(tile_size, element)
        a_tile = cuda.shared.array(row_size, element)
        x, y, first_unit = cuda.threadIdx.x, cuda.threadIdx.y, cuda.blockIdx.x * COLUMNS
        thread, width = y * COLUMNS + x, cuda.gridDim.z * hidden
        first_of_head = cuda.blockIdx.z * hidden
        k_loaded, first_loaded = thread % slice_, thread // slice_
        nothing = element(0)
        sums = zeros(nothing)
        for k0 in range(0, depth, slice_):
            cuda.syncthreads()
            if x < slice_:
                inside = valid and k0 + x < depth
                a_tile[y * slice_ + x] = a[row + k0 + x] if inside else nothing
            for loaded in range(first_loaded, count * COLUMNS, threads // slice_):
                gate, column = loaded // COLUMNS, loaded % COLUMNS
                unit, k = first_unit + column, k0 + k_loaded
                inside = unit < hidden and k < depth
                w_tile[(gate * slice_ + k_loaded) * pitch + column] = (
                    w[(gate * width + first_of_head + unit) * depth + k] if inside else nothing
                )
            cuda.syncthreads()
            for k in range(slice_):
                sums = accumulate(
                    sums, a_tile[y * slice_ + k], w_tile, k * pitch + x, slice_ * pitch
                )
        return sums

    return product


@cache
def unit_product(dtype):
    """A function (a, row, w, first, hidden, depth, valid) -> the sum over k of
    a[row + k] * w[first + k hidden + unit]: a head's gates' gradients times its weights, which
    begin at w[first]."""
    element = ELEMENTS[dtype]
    slice_ = 32
    tile_size, row_size = slice_ * COLUMNS, ROWS * slice_

    @inlined
    def product(a, row, w, first, hidden, depth, valid):
        w_tile = cuda.shared.array(tile_size, element)
        a_tile = cuda.shared.array(row_size, element)
        x, y = cuda.threadIdx.x, cuda.threadIdx.y
        unit = cuda.blockIdx.x * COLUMNS + x
        nothing = element(0)
        total = nothing
        for k0 in range(0, depth, slice_):
            cuda.syncthreads()
            inside = valid and k0 + x < depth
            a_tile[y * slice_ + x] = a[row + k0 + x] if inside else nothing
            for k in range(y, slice_, ROWS):
                inside = unit < hidden and k0 + k < depth
                w_tile[k * COLUMNS + x] = w[first + (k0 + k) * hidden + unit] if inside else nothing
            cuda.syncthreads()
            for k in range(slice_):
                total += a_tile[y * slice_ + k] * w_tile[k * COLUMNS + x]
        return total

    return product
