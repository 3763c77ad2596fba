"""Recurrent weights of several heads on CUDA: in the same time loop, each block of one head.

The way forward takes the weights as they are. On the way back the gates' gradients stand head by
head, in the order in which the recurrent product reads them, and so do what is multiplied with
them: weights are put into that order once a call, and their gradients back from it.
"""

import cupy

from .recurrence import Recurrence
from .together import after


class HeadedRecurrence(Recurrence):
    """As `Recurrence`, with recurrent weights of `heads` blocks: w_hh is (G H, H / heads)."""

    def __init__(self, cell, input_size, hidden_size, heads, dtype):
        super().__init__(cell, input_size, hidden_size, dtype, heads)

    def backward(self, weights, tape, dy, column, dstate, grads, dx, resume):
        """As `Recurrence.backward`."""
        shared = grads[: len(weights)]
        own = [g if g is None else cupy.zeros_like(self._by_head(g), order="C") for g in shared]
        own_grads = [*map(_as_rows, own), *grads[len(shared) :]]
        matrices = [_as_rows(self._by_head(w)) for w in weights[:2]]
        dinitial = super().backward(
            (*matrices, *weights[2:]), tape, dy, column, dstate, own_grads, dx, resume
        )

        def add_gradients():
            for total, gradient in zip(shared, own):
                if total is not None:
                    by_head = self._by_head(total)
                    by_head += gradient

        after(add_gradients)
        return dinitial

    def _by_head(self, rows):
        """A view of (G H, ...) as (heads, G, H / heads, ...)."""
        return rows.reshape(-1, self.heads, self.of_head, *rows.shape[1:]).swapaxes(0, 1)


def _as_rows(by_head):
    """(heads, G, H / heads, ...) as (G H, ...), head after head; None stays None."""
    return by_head if by_head is None else by_head.reshape(-1, *by_head.shape[3:])
