"""How a matrix lies in memory, as the makers of products want to know it."""

from .intrinsics import ACCESS_BYTES


def order_of(shape, strides, itemsize):
    """(whether the rows of a matrix are contiguous, else its columns are; numbers from one of
    those to the next)."""
    (rows, columns), (by_row, by_column) = shape, strides
    along = by_column == itemsize or columns == 1
    bytes_apart = max(by_row, columns * itemsize) if along else max(by_column, rows * itemsize)
    return along, bytes_apart // itemsize


def layout_of(a):
    """`order_of` an array, and whether all that is contiguous starts at multiples of 16 bytes."""
    along, pitch = order_of(a.shape, a.strides, a.itemsize)
    aligned = a.data.ptr % ACCESS_BYTES == 0 and pitch * a.itemsize % ACCESS_BYTES == 0
    return along, pitch, aligned
