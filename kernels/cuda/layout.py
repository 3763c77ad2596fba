"""How a matrix lies in memory, as the makers of products want to know it."""

from .intrinsics import ACCESS_BYTES


def layout_of(a):
    """(whether the rows of a matrix are contiguous, else its columns are; numbers from one of
    those to the next; whether all of them start at multiples of 16 bytes)."""
    itemsize, (by_row, by_column), (rows, columns) = a.itemsize, a.strides, a.shape
    along = by_column == itemsize or columns == 1
    bytes_apart = max(by_row, columns * itemsize) if along else max(by_column, rows * itemsize)
    aligned = a.data.ptr % ACCESS_BYTES == 0 and bytes_apart % ACCESS_BYTES == 0
    return along, bytes_apart // itemsize, aligned
