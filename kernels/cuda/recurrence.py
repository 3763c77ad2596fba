"""One layer and direction on CUDA: what both schedules share.

One product gives the inputs' part of all steps; then the steps run by the schedule chosen; on
the way back one product each gives the gradients by the inputs and the weights of all steps.
"""

from dataclasses import dataclass

import cupy
import numpy as np

from . import persistent, schedules, stepwise
from .plans import Plan, padded


@dataclass
class Tape:
    """What the forward pass keeps for the backward pass; `plan` of the persistent schedule."""

    extras: tuple
    x: cupy.ndarray
    lengths: np.ndarray | None
    reverse: bool
    history: cupy.ndarray
    saved: cupy.ndarray
    gated: cupy.ndarray | None
    plan: Plan | None


class Recurrence:
    """The time loops of one cell, for one input and hidden size and dtype.

    `weights` and `grads` are tuples (w_ih (G H, I), w_hh (G H, H), b_ih (G H,) or None, b_hh).
    After the four stand in `grads` those of the cell's own weights. `extras` is a tuple of
    contiguous arrays (H,), (B, H) or (T, B, H), the cell's own weights first.
    """

    def __init__(self, cell, input_size, hidden_size, dtype):
        self.cell, self.inputs, self.hidden = cell, input_size, hidden_size
        self.dtype = np.dtype(dtype)
        self._early = (cell.gates - cell.late) * hidden_size  # rows of the early gates' weights

    def forward(self, weights, extras, x, state, lengths, reverse, y, column, keep):
        """Run a whole batch of sequences.

        x (T, B, I), state (S, B, H), lengths (B,) on the host or None; writes H columns from
        `column` on of y (T, B, ...), which holds zeros past the sequences' ends already.
        Returns the final state (S, B, H) and, if `keep`, a tape, else None.
        """
        w_ih, w_hh, *biases = weights
        cell, (steps, batch, _), hidden = self.cell, x.shape, self.hidden
        if biases[0] is None:
            biases = [cupy.zeros(cell.gates * hidden, self.dtype)] * 2
        plans = schedules.plans_here(cell, hidden, batch, steps, self.dtype, keep)
        xg = cupy.matmul(x.reshape(steps * batch, -1), w_ih.T).reshape(steps, batch, -1)
        slots = steps + 1 if keep else 2
        history = self._rows((cell.states, slots, batch), plans)
        history[:, steps % slots if reverse else 0, :, :hidden] = state
        saved = cupy.empty((steps if keep else 1, batch, cell.saved, hidden), self.dtype)
        gated_steps = (steps if keep else 1) if cell.late else 0
        gated = cupy.empty((gated_steps, batch, hidden), self.dtype)
        ends = self._ends(lengths, steps, batch)
        run = (w_hh, extras, biases, xg, history, ends, reverse, y, column, saved)
        if plans:
            persistent.run_forward(cell, plans[0], *run, keep)
        else:
            stepwise.run_forward(cell, *run, gated, keep)
        final = history[:, 0 if reverse else steps % slots, :, :hidden]
        if not keep:
            return final, None
        return final, Tape(extras, x, lengths, reverse, history, saved, gated, plans and plans[1])

    def stepper(self, state):
        """A function (weights, extras, x (1, B, I), y (1, B, H)) that steps on from `state`.

        It writes y, and the new state (S, B, H) in place of the old.
        """

        def step(weights, extras, x, y):
            state[...] = self.forward(weights, extras, x, state, None, False, y, 0, keep=False)[0]

        return step

    def backward(self, weights, tape, dy, column, dstate, grads, dx, resume):
        """Back-propagate through the whole batch.

        Reads H columns from `column` on of dy (T, B, ...) and dstate (S, B, H), adds into
        `grads`, writes (adds into, if `resume`) dx (T, B, I). Returns the gradient by the
        initial state.
        """
        w_ih, w_hh = weights[:2]
        cell, (steps, batch) = self.cell, tape.x.shape[:2]
        dxg = self._rows((steps, batch, cell.gates), tape.plan)
        dhg = self._rows((steps, batch, cell.gates), tape.plan) if cell.apart else dxg
        dweights = cupy.empty((steps, batch, len(cell.weights), self.hidden), self.dtype)
        carry = cupy.array(dstate, order="C")
        ends = self._ends(tape.lengths, steps, batch)
        run = (
            w_hh, tape.extras, tape.history, tape.saved, ends, tape.reverse, dy, column, carry,
            dxg, dhg, dweights,
        )  # fmt: skip
        if tape.plan:
            persistent.run_backward(cell, tape.plan, *run)
        else:
            stepwise.run_backward(cell, *run)
        gradients = self._matrix(dxg), self._matrix(dhg), self._matrix(dweights)
        self._multiply_all_steps(w_ih, tape, *gradients, grads, dx, resume)
        return carry

    def _rows(self, shape, plan):
        """An array of rows of H numbers, padded with zeros as the schedule wants them."""
        pitch = padded(self.hidden, self.dtype) if plan else self.hidden
        allocate = cupy.empty if pitch == self.hidden else cupy.zeros
        return allocate((*shape, pitch), self.dtype)

    def _matrix(self, gates):
        """(T, B, G, pitch) as (T B, G H), or of weights W for G."""
        steps, batch = gates.shape[:2]
        return gates[..., : self.hidden].reshape(steps * batch, -1)

    def _multiply_all_steps(self, w_ih, tape, dxg, dhg, dweights, grads, dx, resume):
        """The large products: gradients by the inputs and the weights, over the valid steps."""
        steps, batch = tape.x.shape[:2]
        previous = tape.history[0, 1:] if tape.reverse else tape.history[0, :-1]
        previous = previous[..., : self.hidden].reshape(steps * batch, -1)
        flat = [dxg, dhg, tape.x.reshape(steps * batch, -1), previous, dweights]
        if tape.lengths is not None:
            # Past the ends the gates' gradients are 0, but x may be anything, NaN included.
            valid = cupy.asarray(np.flatnonzero(np.arange(steps)[:, None] < tape.lengths))
            flat = [a[valid] for a in flat]
        dx_rows, dh_rows, x_rows, h_rows, weights_rows = flat
        by_input = cupy.matmul(dxg, w_ih).reshape(dx.shape)
        if resume:
            dx += by_input
        else:
            dx[...] = by_input
        dw_ih, dw_hh, db_ih, db_hh, *totals = grads
        dw_ih += cupy.matmul(dx_rows.T, x_rows)
        early = self._early
        dw_hh[:early] += cupy.matmul(dh_rows[:, :early].T, h_rows)
        if self.cell.late:
            gated = tape.gated.reshape(steps * batch, -1)
            gated = gated if tape.lengths is None else gated[valid]
            dw_hh[early:] += cupy.matmul(dh_rows[:, early:].T, gated)
        if db_ih is not None:
            db_ih += dx_rows.sum(0)
            db_hh += dh_rows.sum(0)
        if totals:
            sums = weights_rows.sum(0).reshape(len(totals), -1)
            for total, part in zip(totals, sums):
                total += part

    @staticmethod
    def _ends(lengths, steps, batch):
        """The sequences' lengths on the device."""
        if lengths is None:
            return cupy.full(batch, steps, np.int64)
        return cupy.asarray(lengths, np.int64)
