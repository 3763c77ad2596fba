"""Products while a caller records a CUDA graph: CuPy refuses to call cuBLAS then."""

from functools import cache

from .device import ELEMENTS, INTEGER, cuda, floats
from .launching import Kernel

TILE = 16


@cache
def product_kernel(dtype):
    """The kernel of `multiply_recorded`, a block a tile of `out`.

    Numbers lie `_by_row` and `_by_column` apart. The tiles of `a` and `b` are read by threads
    whose order follows memory, and are kept so that no two threads of a warp meet in a bank.
    """
    element, pitch = ELEMENTS[dtype], TILE + 1
    tile_size = TILE * pitch

    def run(
        rows, columns, depth, a, a_by_row, a_by_column, b, b_by_row, b_by_column, out, add
    ):  # fmt: skip
        a_tile = cuda.shared.array(tile_size, element)
        b_tile = cuda.shared.array(tile_size, element)
        x, y, nothing = cuda.threadIdx.x, cuda.threadIdx.y, element(0)
        first_row, first_column = cuda.blockIdx.y * TILE, cuda.blockIdx.x * TILE
        a_row, a_column = (y, x) if a_by_column == 1 else (x, y)
        b_row, b_column = (y, x) if b_by_column == 1 else (x, y)
        a_at = (first_row + a_row) * a_by_row
        b_at = (first_column + b_column) * b_by_column
        total = nothing
        for k in range(0, depth, TILE):
            inside = first_row + a_row < rows and k + a_column < depth
            a_tile[a_row * pitch + a_column] = (
                a[a_at + (k + a_column) * a_by_column] if inside else nothing
            )
            inside = first_column + b_column < columns and k + b_row < depth
            b_tile[b_row * pitch + b_column] = (
                b[b_at + (k + b_row) * b_by_row] if inside else nothing
            )
            cuda.syncthreads()
            for i in range(TILE):
                total += a_tile[y * pitch + i] * b_tile[i * pitch + x]
            cuda.syncthreads()
        row, column = first_row + y, first_column + x
        if row < rows and column < columns:
            at = row * columns + column
            out[at] = out[at] + total if add else total

    f, i = floats(dtype), INTEGER
    return Kernel(f"product {dtype}", run, (i, i, i, f, i, i, f, i, i, f, i))


def multiply_recorded(a, b, out, add):
    """What `cublas.multiply` does."""
    (rows, depth), columns, itemsize = a.shape, b.shape[1], out.itemsize
    a_strides, b_strides = ([stride // itemsize for stride in m.strides] for m in (a, b))
    product_kernel(out.dtype)(
        (-(-columns // TILE), -(-rows // TILE), 1), (TILE, TILE, 1),
        rows, columns, depth, a.data.ptr, *a_strides, b.data.ptr, *b_strides, out.data.ptr,
        int(add),
    )  # fmt: skip
