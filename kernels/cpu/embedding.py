"""Rows of a table by their numbers, and back."""

import numpy as np

from .compiling import kernel
from .workspace import empty


def embedding_forward(table, indices):
    """table (V, E), indices (N,), in range -> (N, E)."""
    rows = empty((len(indices), table.shape[1]), table.dtype)
    # To look for indices out of range NumPy would write elsewhere first.
    return np.take(table, indices, axis=0, out=rows, mode="clip")


@kernel("embedding_backward")
def _add_rows(dtable, indices, dy):
    for n in range(indices.size):
        for e in range(dy.shape[1]):
            dtable[indices[n], e] += dy[n, e]


def embedding_backward(dtable, indices, dy):
    """Add row n of dy (N, E) to row indices[n] of dtable (V, E)."""
    _add_rows(dtable, indices, dy)
