"""One layer and direction whose hidden states are projected before they meet the weights."""

import cupy

from ..steps_by_forward import StepsByForward
from . import projection, schedules
from .preparing import Scratch, prepare
from .products import multiply, multiply_rows
from .recurrence import Recurrence, Tape, matrix


class ProjectedRecurrence(StepsByForward, Recurrence):
    """As `Recurrence`, of a one-phase cell that does not read its old hidden state itself.

    `weights` and `grads` end with the projection's, w_hr (P, H); w_hh is (G H, P). Of states
    (S, B, H) the first is the projection, the first P numbers of H. P columns of y are written.
    float32 and float64, stepwise.
    """

    def __init__(self, cell, input_size, hidden_size, outputs, dtype):
        super().__init__(cell, input_size, hidden_size, dtype)
        self._outputs = outputs

    def forward(self, weights, extras, x, state, lengths, reverse, y, column, keep):
        """As `Recurrence.forward`; RuntimeError if the persistent schedule is wanted."""
        if schedules.schedule() == "persistent":
            raise RuntimeError("the persistent schedule cannot run a layer with proj_size")
        w_ih, w_hh, *biases, w_hr = weights
        cell, (steps, batch, _), outputs = self.cell, x.shape, self._outputs
        if biases[0] is None:
            biases = [cupy.zeros(len(w_hh), self.dtype)] * 2
        xg = cupy.empty((steps * batch, len(w_hh)), self.dtype)
        multiply_rows(x, w_ih, xg)
        slots = steps + 1 if keep else 2
        first, last = (steps % slots, 0) if reverse else (0, steps % slots)
        history = cupy.empty((cell.states, slots, batch, self.hidden), self.dtype)
        seen = cupy.empty((slots, batch, outputs), self.dtype)
        saved = cupy.empty((steps, batch, cell.saved, self.hidden), self.dtype) if keep else None
        nowhere = cupy.empty((batch, self.hidden), self.dtype)
        scratch = Scratch(0, batch, lengths)
        prepare(self.dtype, state, history, first, scratch, steps if lengths is None else 0)
        seen[first] = 0 if state is None else state[0, :, :outputs]
        projection.run_forward(
            cell, scratch.ends, (w_hh, w_hr), extras, biases, xg, history, seen, reverse, y,
            column, saved, nowhere,
        )  # fmt: skip
        final = history[:, last].copy()
        final[0, :, :outputs] = seen[last]
        if not keep:
            return final, None
        return final, Tape(
            extras, x, scratch, lengths is not None, reverse, history, saved, seen, None, ()
        )

    def _seen(self, tape):
        return tape.gated

    def _run_back(
        self, scratch, weights, tape, dy, column, carry, dxg, dhg, dweights, grads, dproducts,
        by_gain,
    ):  # fmt: skip
        steps, batch = tape.x.shape[:2]
        dprojection = carry[0, 0, :, : self._outputs].copy(order="C")
        carry[0] = 0
        dseen = cupy.empty((steps, batch, self._outputs), self.dtype)
        projection.run_backward(
            self.cell, scratch.ends, (weights[1], weights[4]), tape.extras, tape.history,
            tape.saved, tape.reverse, dy, column, carry, dprojection, dxg, dweights, dseen,
            cupy.zeros(self.hidden, self.dtype),
        )  # fmt: skip
        carry[0, 0, :, : self._outputs] = dprojection
        new = tape.history[0, :-1] if tape.reverse else tape.history[0, 1:]
        multiply(matrix(dseen).T, matrix(new), grads[4], add=True)
