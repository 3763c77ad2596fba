"""Forward through all steps of very few sequences: what the kernel by units is called with.

What depends on the shape alone is made once, and what depends on the weights as long as they are
the same arrays: it would take as long as many a small layer's hundred steps.
"""

import numpy as np

from .extras import as_triples
from .forward import input_block_rows
from .forward_units import forward_units
from .norms import of_products
from .product import SECOND_LEVEL_BYTES
from .reduced import ReducedWeights
from .sharing import spread
from .threads import run_team, team_for
from .workspace import aligned_empty

WORTH_PACKING = 16  # rows of inputs for which their weights are
BYTES_WORTH_PACKING = SECOND_LEVEL_BYTES  # of recurrent weights
LEAST_BLOCK_ROWS = 128  # of inputs multiplied at once: most sequences need no second block


def as_they_lie(weights, no_bias):
    """(w_ih, w_hh, scale_ih, scale_hh, b_ih, b_hh), whether reduced or not."""
    if isinstance(weights, ReducedWeights):
        arrays = weights.w_ih, weights.w_hh, weights.scale_ih, weights.scale_hh
        biases = weights.b_ih, weights.b_hh
    else:
        nothing = np.empty(0, no_bias.dtype)
        arrays, biases = (*weights[:2], nothing, nothing), weights[2:]
    return *arrays, *((no_bias, no_bias) if biases[0] is None else biases)


def team_of_units(cell, hidden, steps, batch, back=False):
    """As `team_for`, of this cell."""
    meetings = (2 if cell.late else 1) * (3 if cell.normalised else 1)
    return team_for(steps, batch * cell.gates * hidden * hidden, meetings, back)


class UnitsKernels(dict):
    """The kernels of `forward_units` by whether recurrent weights are packed."""

    def __init__(self, cell, dtype):
        super().__init__()
        self._of = cell, dtype

    def __missing__(self, packed):
        return self.setdefault(packed, forward_units(*self._of, packed))


class FewSequences:
    """Runs sequences of one shape (T, B, I) forward.

    `kernels` are its `UnitsKernels`, `order` the `WeightOrder`; lengths (B,) or None.
    """

    def __init__(self, kernels, cell, order, shape, lengths):
        self.shape = shape
        self._steps, self._batch, inputs = shape
        self._kernels, self._cell, self._order = kernels, cell, order
        ((self._rows, self._counts),) = spread(lengths, self._steps, self._batch, 1)
        block_rows = max(LEAST_BLOCK_ROWS, input_block_rows(inputs))
        self._block = min(self._steps, max(1, block_rows // self._batch))
        self._panels = order.pitch // order.panel_width
        self._room_shapes = (
            (self._block * self._batch, order.pitch),
            (self._batch * order.pitch,),
            (self._batch * cell.kept * order.padded,),
        )
        self._last = None, None, (None,) * 3

    def room(self):
        """Memory for one call at a time."""
        return [np.empty(shape, self._order.dtype) for shape in self._room_shapes]

    def run(
        self, room, weights, extras, norms, x, state, reverse, y, column, history, saved, gated,
        keep,
    ):  # fmt: skip
        """Step on from `state` (S, B, H), in whose place the final one is written.

        `weights` are those of the products; for the other arguments see `forward_units`.
        """
        last, lying, (wx, wh, wq) = self._last
        if weights is not last:
            lying = as_they_lie(weights, self._order.no_bias)
            wx, wh, wq = self._order.frozen_panels(weights, BYTES_WORTH_PACKING)
            self._last = weights, lying, (wx, wh, wq)
        panels, to_pack, floats = 0, self._order.nothing_to_pack, weights
        if self._steps * self._batch >= WORTH_PACKING:
            if isinstance(weights, ReducedWeights):
                floats = weights.expanded_for_inputs()
            # Before the loop: in its first step the leader is alone.
            panels = self._panels
            if self._steps > self._block:
                wx = self._order.input_panels(floats)
            elif not wx.size:
                to_pack = self._order.input_columns(floats)
        xg, hg, kept = room
        run_team(
            self._kernels[wh.size > 0],
            *team_of_units(self._cell, state.shape[2], self._steps, self._batch),
            (
                x, self._rows, self._counts, *lying, wx, wh, wq, panels, *to_pack, state,
                as_triples(extras), norms, history, xg, hg, y.reshape(-1), column, y.shape[2],
                saved, gated, kept, keep, reverse,
            ),
        )  # fmt: skip


class SequenceStepper:
    """As `single_step.Stepper`, for the x (T, B, I) and y (T, B, H) of some `FewSequences`."""

    def __init__(self, sequences, cell, order, state, norms):
        states, batch, _ = state.shape
        self._sequences, self._norms, self._state = sequences, norms, state
        self._cell, self._scratch = cell, sequences.room()
        self._room = (
            aligned_empty((states, 2, batch, order.padded), order.dtype),
            np.empty((0, cell.saved, order.padded), order.dtype),
            aligned_empty((batch if cell.late else 0, order.padded), order.dtype),
        )

    def __call__(self, weights, extras, x, y):
        products, norms = of_products(self._cell, weights), self._norms.take(weights, 0)
        self._sequences.run(
            self._scratch, products, extras, norms, x, self._state, False, y, 0, *self._room, False,
        )  # fmt: skip
