"""Layer normalisation around a time loop: what kernels are given, and what becomes of it.

For the layout of `norms`, which is () for a cell that is not normalised, see `normalisation`.
"""

import numpy as np

from .normalisation import INPUTS, normalise_inputs_backward
from .threads import run_parallel, shares, split
from .workspace import empty


def of_products(cell, weights):
    """The weights, or gradients, of the products; their biases only if they come with them.

    A normalised cell's biases come after normalising.
    """
    return (*weights[:2], None, None) if cell.normalised else weights


class Norms:
    """The norms of one cell, for one hidden size, padded to H', and dtype."""

    def __init__(self, cell, hidden, padded, dtype):
        self._cell, self._hidden, self._padded, self._dtype = cell, hidden, padded, dtype
        self._no_bias = np.zeros(cell.gates * hidden, dtype)
        self._no_room = np.empty(0, dtype), np.empty((0, 2), dtype)

    def take(self, weights, rows):
        """`norms`, with room for so many rows."""
        if not self._cell.normalised:
            return ()
        _, _, *biases, gain_ih, gain_hh = weights
        if biases[0] is None:
            biases = self._no_bias, self._no_bias
        return tuple(
            (gain, bias, *self._room(rows)) for gain, bias in zip((gain_ih, gain_hh), biases)
        )

    def _room(self, rows):
        if not rows:
            return self._no_room
        size = rows * self._cell.gates * self._padded
        return empty((size,), self._dtype), np.empty((rows, 2), self._dtype)

    def back(self, norms, kind, threads):
        """What `normalise_backward` takes, for each of so many threads."""
        if not self._cell.normalised:
            return [()] * threads
        gain, _, normals, scales = norms[kind]
        shape = (2, self._cell.gates, self._padded)
        return [(gain, normals, scales, np.zeros(shape, self._dtype)) for _ in range(threads)]

    def back_through_inputs(self, norms, valid, dxg):
        """In dxg, from the gradients by the inputs' part of the gates to those by the products.

        Returns what `add_gradients` takes.
        """
        work = 20 * valid.size * self._cell.gates * self._hidden
        bounds = split(valid.size, shares(work))
        each = self.back(norms, INPUTS, len(bounds))
        run_parallel(
            normalise_inputs_backward(self._dtype),
            [
                (dxg, valid[first:last], self._hidden, norm)
                for (first, last), norm in zip(bounds, each)
            ],
        )
        return each

    def add_gradients(self, each, dgain, dbias):
        """Add what each thread's part of `back` has come to; dbias may be None."""
        for *_, totals in each:
            by_gain, by_bias = totals[:, :, : self._hidden].reshape(2, -1)
            dgain += by_gain
            if dbias is not None:
                dbias += by_bias
