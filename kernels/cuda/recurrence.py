"""One layer and direction on CUDA, by the stepwise schedule.

One product gives the inputs' part of all steps; then each step is one fused kernel (two for a
two-phase cell); on the way back one product each gives the gradients by the inputs and the
weights of all steps. Between the first launch and the last nothing is allocated, read back or
waited for.
"""

from dataclasses import dataclass

import cupy
import numpy as np

from .backward import backward_step, gate_backward_step, last_backward_step, late_backward_step
from .forward import forward_step, gate_step, late_step
from .tiles import BLOCK, grid


@dataclass
class Tape:
    """What the forward pass keeps for the backward pass."""

    x: cupy.ndarray
    lengths: np.ndarray | None
    reverse: bool
    history: cupy.ndarray
    saved: cupy.ndarray
    gated: cupy.ndarray | None


def _rows(a):
    """Pointers to a[0], a[1], ... as ints."""
    return [a.data.ptr + t * a.strides[0] for t in range(len(a))]


class Recurrence:
    """The time loops of one cell, for one input and hidden size and dtype.

    `weights` and `grads` are tuples (w_ih (G H, I), w_hh (G H, H), b_ih (G H,) or None, b_hh).
    """

    def __init__(self, cell, input_size, hidden_size, dtype):
        self.cell, self.inputs, self.hidden, self.dtype = (
            cell,
            input_size,
            hidden_size,
            np.dtype(dtype),
        )
        self._early = (cell.gates - cell.late) * hidden_size  # rows of the early gates' weights

    def forward(self, weights, x, state, lengths, reverse, y, column, keep):
        """Run a whole batch of sequences.

        x (T, B, I), state (S, B, H), lengths (B,) on the host or None; writes H columns from
        `column` on of y (T, B, ...), which holds zeros past the sequences' ends already.
        Returns the final state (S, B, H) and, if `keep`, a tape, else None.
        """
        w_ih, w_hh, b_ih, b_hh = weights
        cell, (steps, batch, _), hidden = self.cell, x.shape, self.hidden
        if b_ih is None:
            b_ih = b_hh = cupy.zeros(cell.gates * hidden, self.dtype)
        xg = cupy.matmul(x.reshape(steps * batch, -1), w_ih.T).reshape(steps, batch, -1)
        slots = steps + 1 if keep else 2
        history = cupy.empty((cell.states, slots, batch, hidden), self.dtype)
        history[:, steps % slots if reverse else 0] = state
        saved = cupy.empty((steps if keep else 1, batch, cell.saved, hidden), self.dtype)
        gated_steps = (steps if keep else 1) if cell.late else 0
        gated = cupy.empty((gated_steps, batch, hidden), self.dtype)
        kept = cupy.empty((batch, cell.kept, hidden), self.dtype)
        ends = self._ends(lengths, steps, batch)

        plane, slot = slots * batch * hidden, _rows(history[0])
        xg_rows, saved_rows, gated_rows = _rows(xg), _rows(saved), _rows(gated)
        y_rows, y_stride = _rows(y[:, :, column:]), y.shape[2]
        blocks, early = grid(hidden, batch), self._early
        late = [b_ih[early:], b_hh[early:], w_hh[early:]] if cell.late else None
        step = (late_step if cell.late else forward_step)(cell, self.dtype)
        gate = gate_step(cell, self.dtype) if cell.late else None
        for t in reversed(range(steps)) if reverse else range(steps):
            before, after = (t + 1, t) if reverse else (t, t + 1)
            old, new, kept_step = slot[before % slots], slot[after % slots], t if keep else 0
            lead = (t, ends, batch, hidden, xg_rows[t])
            tail = (old, new, plane, y_rows[t], y_stride, saved_rows[kept_step], int(keep))
            if cell.late:
                q = gated_rows[kept_step]
                gate(
                    blocks, BLOCK, batch, hidden, xg_rows[t], b_ih, b_hh, w_hh, old, plane, q, kept
                )
                step(blocks, BLOCK, *lead, *late, q, kept, *tail)
            else:
                step(blocks, BLOCK, *lead, b_ih, b_hh, w_hh, *tail)
        final = history[:, 0 if reverse else steps % slots]
        return final, Tape(x, lengths, reverse, history, saved, gated) if keep else None

    def stepper(self, state):
        """A function (weights, x (1, B, I), y (1, B, H)) that steps on from `state` (S, B, H).

        It writes y, and the new state in place of the old.
        """

        def step(weights, x, y):
            state[...] = self.forward(weights, x, state, None, False, y, 0, keep=False)[0]

        return step

    def backward(self, weights, tape, dy, column, dstate, grads, dx, resume):
        """Back-propagate through the whole batch.

        Reads H columns from `column` on of dy (T, B, ...) and dstate (S, B, H), adds into
        `grads`, writes (adds into, if `resume`) dx (T, B, I). Returns the gradient by the
        initial state.
        """
        w_ih, w_hh = weights[:2]
        cell, hidden, (steps, batch) = self.cell, self.hidden, tape.x.shape[:2]
        dxg = cupy.empty((steps, batch, cell.gates * hidden), self.dtype)
        dhg = cupy.empty_like(dxg) if cell.apart else dxg
        carry = cupy.array(dstate, order="C")
        carried = cupy.empty((batch, cell.carried, hidden), self.dtype)
        ends = self._ends(tape.lengths, steps, batch)

        plane, carry_plane = tape.history[0].size, batch * hidden
        slot, saved_rows = _rows(tape.history[0]), _rows(tape.saved)
        dxg_rows, dhg_rows = _rows(dxg), _rows(dhg)
        dy_rows, dy_stride = _rows(dy[:, :, column:]), dy.shape[2]
        blocks, w_late = grid(hidden, batch), w_hh[self._early :]
        step = (late_backward_step if cell.late else backward_step)(cell, self.dtype)
        gate = gate_backward_step(cell, self.dtype) if cell.late else None
        later = None
        for t in range(steps) if tape.reverse else reversed(range(steps)):
            before, after = (t + 1, t) if tape.reverse else (t, t + 1)
            old, new, dh = slot[before], slot[after], dhg_rows[t if later is None else later]
            step(
                blocks, BLOCK, t, ends, batch, hidden, int(later is not None), dh, w_hh,
                dy_rows[t], dy_stride, old, new, plane, saved_rows[t], carry, carry_plane,
                dxg_rows[t], carried if cell.late else dhg_rows[t],
            )  # fmt: skip
            if cell.late:
                gate(
                    blocks, BLOCK, t, ends, batch, hidden, w_late, old, plane, saved_rows[t],
                    carry, carry_plane, dxg_rows[t], carried,
                )  # fmt: skip
            later = t
        last = last_backward_step(cell, self.dtype)
        last(blocks, BLOCK, batch, hidden, dhg_rows[later], w_hh, carry)

        self._multiply_all_steps(w_ih, tape, dxg, dhg, grads, dx, resume)
        return carry

    def _multiply_all_steps(self, w_ih, tape, dxg, dhg, grads, dx, resume):
        """The large products: gradients by the inputs and the weights, over the valid steps."""
        steps, batch, inputs = tape.x.shape
        previous = tape.history[0, 1:] if tape.reverse else tape.history[0, :-1]
        flat = [a.reshape(steps * batch, -1) for a in (dxg, dhg, tape.x, previous)]
        if tape.lengths is not None:
            # Past the ends the gates' gradients are 0, but x may be anything, NaN included.
            valid = cupy.asarray(np.flatnonzero(np.arange(steps)[:, None] < tape.lengths))
            flat = [a[valid] for a in flat]
        dx_rows, dh_rows, x_rows, h_rows = flat
        by_input = cupy.matmul(dxg.reshape(steps * batch, -1), w_ih).reshape(dx.shape)
        if resume:
            dx += by_input
        else:
            dx[...] = by_input
        dw_ih, dw_hh, db_ih, db_hh = grads
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

    @staticmethod
    def _ends(lengths, steps, batch):
        """The sequences' lengths on the device."""
        return (
            cupy.full(batch, steps, np.int64)
            if lengths is None
            else cupy.asarray(lengths, np.int64)
        )
