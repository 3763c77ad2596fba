"""Matrices of numbers as kernels of scans take them, for both devices.

A matrix is a pair (flat array that begins at its first number, numbers from row to row).
"""


def rows_of(a, column):
    """The matrix of the columns from `column` on of a contiguous array (..., N)."""
    return a.reshape(-1)[column:], a.shape[-1]


def every_row(a):
    """The matrix each of whose rows is `a` (N,)."""
    return a, 0


def separated(matrices):
    """(their arrays, their pitches), two tuples."""
    return tuple(zip(*matrices))
