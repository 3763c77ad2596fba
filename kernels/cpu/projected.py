"""One layer and direction whose hidden states are projected before they meet the weights."""

import numpy as np

from ..steps_by_forward import StepsByForward
from .backward import backward_rows
from .extras import as_triples
from .forward import forward_rows
from .linear import add_weight_gradient, packed_weight
from .recurrence import Recurrence, Tape
from .sharing import end_slots, spread
from .threads import run_parallel
from .workspace import empty


class ProjectedRecurrence(StepsByForward, Recurrence):
    """As `Recurrence`, of a one-phase cell that does not read its old hidden state itself.

    `weights` and `grads` end with the projection's, w_hr (P, H); w_hh is (G H, P). Of states
    (S, B, H) the first is the projection, the first P numbers of H. P columns of y are written.
    """

    def __init__(self, cell, input_size, hidden_size, outputs, dtype):
        super().__init__(cell, input_size, hidden_size, dtype)
        self._outputs = outputs
        self._forward = forward_rows(cell, self.dtype, projected=True)
        self._backward = backward_rows(cell, self.dtype, projected=True)

    def forward(self, weights, extras, x, state, lengths, reverse, y, column, keep):
        """As `Recurrence.forward`."""
        (steps, batch), outputs, hidden = x.shape[:2], self._outputs, self.hidden
        slots = steps + 1 if keep else 2
        history = empty((self.cell.states, slots, batch, self.padded), self.dtype)
        seen = empty((slots, batch, self.padded), self.dtype)
        saved = self._no_tape
        if keep:
            saved = empty((steps * batch, self.cell.saved, self.padded), self.dtype)
        first, last = end_slots(lengths, steps, batch, slots, reverse)
        history[:, *first] = 0
        seen[*first, :outputs] = 0
        if state is not None:
            history[1:, *first, :hidden] = state[1:]
            seen[*first, :outputs] = state[0, :, :outputs]
        order = self._order
        panels = (
            order.input_panels(weights), order.hidden_panels(weights)[0],
            packed_weight(weights[4], True),
        )  # fmt: skip
        run_parallel(
            self._forward,
            [
                (
                    x, rows, counts, *panels, hidden, outputs, as_triples(extras), (), history,
                    y.reshape(-1), column, y.shape[2], saved, seen.reshape(-1, self.padded), keep,
                    reverse,
                )
                for rows, counts in spread(
                    lengths, steps, batch, self._threads(lengths, steps, batch)
                )
            ],
        )  # fmt: skip
        final = np.zeros((self.cell.states, batch, hidden), self.dtype)
        final[0, :, :outputs] = seen[*last, :outputs]
        final[1:] = history[1:, *last, :hidden]
        if keep:
            return final, Tape(extras, x, lengths, reverse, history, saved, seen, ())
        return final, None

    def _seen(self, tape):
        return tape.gated

    def _run_back(self, weights, tape, dy, column, dstate, dxg, dhg, dweights, grads):
        steps, batch = tape.x.shape[:2]
        dseen = np.zeros((steps, batch, self._outputs), self.dtype)
        panels = self._order.hidden_panels_back(weights[1])[0], packed_weight(weights[4], False)
        run_parallel(
            self._backward,
            [
                (
                    dy.reshape(-1), column, dy.shape[2], rows, counts, *panels, self.hidden,
                    as_triples(tape.extras), (), tape.history, tape.saved, dxg, dhg, dweights,
                    dseen, dstate, tape.reverse,
                )
                for rows, counts in spread(
                    tape.lengths, steps, batch, self._threads(tape.lengths, steps, batch)
                )
            ],
        )  # fmt: skip
        new = tape.history[0, :-1] if tape.reverse else tape.history[0, 1:]
        if tape.lengths is not None:
            valid = np.arange(steps)[:, None] < tape.lengths
            new, dseen = new[valid], dseen[valid]
        hidden_states = np.ascontiguousarray(new.reshape(-1, self.padded)[:, : self.hidden])
        add_weight_gradient(hidden_states, dseen.reshape(-1, self._outputs), grads[4], None)
        return ()
