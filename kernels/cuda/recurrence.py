"""One layer and direction on CUDA: what both schedules share.

One product gives the inputs' part of all steps; then the steps run by the schedule chosen; on
the way back one product each gives the gradients by the inputs and the weights of all steps.
Nothing here waits for the device or reads from it.

With a dtype of 16 bits all steps keep their states in float32. Hidden states are rounded to 16 bits
where they go out (y, the final state) and where the large product for dw_hh takes them.
"""

from dataclasses import dataclass

import cupy
import numpy as np

from . import persistent, schedules, stepwise
from .device import working
from .norms import norms_of
from .plans import Plan, padded
from .preparing import Scratch, prepare, valid_rows
from .products import multiply, multiply_rows
from .stepping import Stepper
from .together import after, together_here


@dataclass
class Tape:
    """What the forward pass keeps for the backward pass; `plan` of the persistent schedule.

    `scratch` holds the sequences' ends, which differ if `ragged`.
    """

    extras: tuple
    x: cupy.ndarray
    scratch: Scratch
    ragged: bool
    reverse: bool
    history: cupy.ndarray
    saved: cupy.ndarray
    gated: cupy.ndarray | None
    plan: Plan | None
    norms: tuple


class Recurrence:
    """The time loops of one cell, for one input and hidden size and dtype.

    `weights` and `grads` are tuples (w_ih (G H, I), w_hh (G H, H), b_ih (G H,) or None, b_hh), of a
    normalised cell with gain_ih, gain_hh (G H,) besides. After those stand in `grads` the ones of
    the cell's own weights. `extras` is a tuple of contiguous arrays (H,), (B, H) or (T, B, H), the
    cell's own weights first.

    Units lie head after head, of which there is one but in a `HeadedRecurrence`: a row of H
    numbers is as many rows of `of_head` numbers, which a schedule may pad.
    """

    def __init__(self, cell, input_size, hidden_size, dtype, heads=1):
        self.cell, self.inputs, self.hidden, self.heads = cell, input_size, hidden_size, heads
        self.dtype, self._states_dtype = np.dtype(dtype), working(dtype)
        self.of_head = hidden_size // heads
        self._early = (cell.gates - cell.late) * self.of_head  # rows of a head's early gates

    def forward(self, weights, extras, x, state, lengths, reverse, y, column, keep):
        """Run a whole batch of sequences.

        x (T, B, I), state (S, B, H) or None for zeros, lengths (B,) on either side or None; writes
        H columns from `column` on of y (T, B, ...), which holds zeros past the sequences' ends
        already.
        Returns the final state (S, B, H) and, if `keep`, a tape, else None.
        """
        (w_ih, w_hh, *biases), gains = weights[:4], weights[4:]
        cell, (steps, batch, _), hidden = self.cell, x.shape, self.hidden
        if biases[0] is None:
            biases = [cupy.zeros(cell.gates * hidden, self.dtype)] * 2
        plans = self._plans(batch, steps, keep)
        xg = self._inputs_part(x, w_ih)
        input_norm, hidden_norm = norms = norms_of(cell, gains, steps if keep else 0, batch)
        if input_norm:
            input_norm.normalise(xg)
        kept_steps, slots = (steps, steps + 1) if keep else (1, 2)
        first, last = (steps % slots, 0) if reverse else (0, steps % slots)
        rows = batch * self.heads
        history = self._rows((cell.states, slots, rows), plans, self._states_dtype)
        saved = None
        if keep:
            saved = cupy.empty((steps, rows, cell.saved, self.of_head), self._states_dtype)
        gated = self._rows((kept_steps, rows), plans) if cell.late else None
        kept = self._passed(batch, cell.kept, self._states_dtype)
        scratch = Scratch(plans[0].counters if plans else 0, rows, lengths)
        given = self._head_rows(state)
        prepare(self.dtype, given, history, first, scratch, steps if lengths is None else 0)
        run = (
            scratch, w_hh, extras, biases, xg, history, reverse, y, column, saved, gated, kept,
        )  # fmt: skip
        if plans:
            self._run_persistent(plans[0], *run)
        else:
            stepwise.run_forward(cell, *run, hidden_norm)
        final = self._states(history[:, last], batch)
        if not keep:
            return final, None
        ragged = lengths is not None
        plan = plans and plans[1]
        return final, Tape(extras, x, scratch, ragged, reverse, history, saved, gated, plan, norms)

    def _plans(self, batch, steps, keep):
        """The plans of the persistent schedule, or None for the stepwise: see `schedules`."""
        return schedules.plans_here(
            self.cell, self.of_head, batch, steps, self.dtype, keep, together_here(), self.heads
        )

    def _inputs_part(self, x, w_ih):
        """The inputs' part of the gates (T B, G H), by one product."""
        xg = cupy.empty((x.shape[0] * x.shape[1], len(w_ih)), self.dtype)
        multiply_rows(x, w_ih, xg)
        return xg

    def _run_persistent(self, plan, *run):
        persistent.run_forward(self.cell, plan, *run)

    def stepper(self, state, steps=1):
        """A function (weights, extras, x (1, B, I), y (1, B, H)) that steps on from `state`.

        It takes one step at a time (see `steps_together`), and writes y, and the new state
        (S, B, H) in place of the old.
        """
        return Stepper(self.cell, state, self.heads)

    def backward(self, weights, tape, dy, column, dstate, grads, dx, resume):
        """Back-propagate through the whole batch.

        Reads H columns from `column` on of dy (T, B, ...) and dstate (S, B, H), None for zeros;
        adds into `grads`, writes (adds into, if `resume`) dx (T, B, I), unless that is None.
        Returns the gradient by the initial state.
        """
        cell, (steps, batch) = self.cell, tape.x.shape[:2]
        rows = batch * self.heads
        dxg = self._rows((steps, rows, cell.gates), tape.plan)
        dhg = self._rows((steps, rows, cell.gates), tape.plan) if cell.apart else dxg
        dproducts, by_gain = dhg, None
        if cell.normalised:
            dproducts, by_gain = cupy.empty_like(dxg), cupy.empty_like(dxg)
        carry = cupy.empty((cell.states, 1, rows, self.of_head), self._states_dtype)
        ones = cupy.empty((1, steps * batch), self.dtype)
        dweights = self._passed(steps * batch, len(cell.weights), self.dtype)
        scratch = Scratch(tape.plan.counters if tape.plan else 0)
        scratch.ends = tape.scratch.ends
        prepare(self.dtype, self._head_rows(dstate), carry, 0, scratch, ones=ones)
        self._run_back(
            scratch, weights, tape, dy, column, carry, dxg, dhg, dweights, grads, dproducts, by_gain
        )

        def multiply_all_steps():
            product_grads = grads[:4]
            if cell.normalised:
                self._back_through_norms(tape, dxg, dhg, by_gain, ones, grads)
                product_grads = (*grads[:2], None, None)  # biases came after the products
            gates = self._gates(dxg), self._gates(dproducts)
            self._multiply_all_steps(weights[0], tape, *gates, ones, product_grads, dx, resume)
            if cell.weights:
                self._add_own_gradients(dweights, tape, ones, grads[len(weights) :])

        after(multiply_all_steps)
        return self._states(carry[:, 0], batch)

    def _run_back(
        self, scratch, weights, tape, dy, column, carry, dxg, dhg, dweights, grads, dproducts,
        by_gain,
    ):  # fmt: skip
        """All steps back: write dxg, dhg and dweights, renew carry in place."""
        carried = self._passed(dy.shape[1], self.cell.carried, self._states_dtype)
        run = (
            scratch, weights[1], tape.extras, tape.history, tape.saved, tape.reverse, dy, column,
            carry, dxg, dhg, dweights, carried,
        )  # fmt: skip
        if tape.plan:
            self._run_persistent_back(tape.plan, *run)
        else:
            stepwise.run_backward(self.cell, *run, tape.norms[1], dproducts, by_gain)

    def _run_persistent_back(self, plan, *run):
        persistent.run_backward(self.cell, plan, *run)

    def _seen(self, tape):
        """What the recurrent product sees (T + 1, B heads, ...), by slots of the history."""
        return tape.history[0]

    def _rows(self, shape, plan, dtype=None):
        """An array of rows of a head's numbers, padded with zeros as the schedule wants them."""
        pitch = padded(self.of_head, self.dtype) if plan else self.of_head
        allocate = cupy.empty if pitch == self.of_head else cupy.zeros
        return allocate((*shape, pitch), dtype or self.dtype)

    def _head_rows(self, states):
        """States (S, B, H) as (S, B heads, H / heads); None stays None."""
        return states if states is None else states.reshape(len(states), -1, self.of_head)

    def _states(self, rows, batch):
        """States (S, B, H) in the layer's dtype, from rows (S, B heads, pitch) of each head.

        They are what the rows hold when all that is to be launched has been.
        """
        shape, is_padded = (len(rows), batch, self.hidden), rows.shape[2] != self.of_head
        unpadded = rows[:, :, : self.of_head] if is_padded else rows
        if rows.dtype == self.dtype and not (is_padded and self.heads > 1):
            return unpadded if unpadded.shape == shape else unpadded.reshape(shape)
        states = cupy.empty(shape, self.dtype)

        def round_states():
            states.reshape(unpadded.shape)[...] = unpadded

        after(round_states)
        return states

    def _passed(self, rows, count, dtype):
        """Room for `count` numbers a unit in so many rows, or None for none."""
        return cupy.empty((rows, count, self.hidden), dtype) if count else None

    def _gates(self, gates):
        """(T, B heads, G, pitch) as (T B, G H), head after head."""
        steps, rows, _, pitch = gates.shape
        if pitch != self.of_head:
            gates = cupy.ascontiguousarray(gates[..., : self.of_head])
        return gates.reshape(steps * rows // self.heads, -1)

    def _back_through_norms(self, tape, dxg, dhg, by_gain, ones, grads):
        """Add the gradients by gains and biases; in dxg, go back to the products with the inputs.

        `by_gain` holds dhg times the hidden states' normals, and has been of use after this.
        """
        _, _, db_ih, db_hh, dgain_ih, dgain_hh = grads[:6]
        if db_ih is not None:
            multiply(ones, self._gates(dxg), db_ih.reshape(1, -1), add=True)
            multiply(ones, self._gates(dhg), db_hh.reshape(1, -1), add=True)
        multiply(ones, self._gates(by_gain), dgain_hh.reshape(1, -1), add=True)
        at = dxg.data.ptr
        tape.norms[0].back(tape.scratch.ends, 0, len(dxg), at, at, by_gain.data.ptr)
        multiply(ones, self._gates(by_gain), dgain_ih.reshape(1, -1), add=True)

    def _multiply_all_steps(self, w_ih, tape, dxg, dhg, ones, grads, dx, resume):
        """The large products: gradients by the inputs and the weights, over all steps."""
        x, gated = tape.x, tape.gated
        if tape.ragged:
            # Past the ends the gates' gradients are 0, but x may be anything, NaN included.
            x = valid_rows(x, tape.scratch.ends, cupy.empty_like(x))
            if self.cell.late:
                by_sequence = gated.reshape(*x.shape[:2], -1)
                valid_rows(by_sequence, tape.scratch.ends, by_sequence)
        seen = self._seen(tape)
        seen = seen[1:] if tape.reverse else seen[:-1]
        dw_ih, dw_hh, db_ih, db_hh = grads
        if dx is not None:
            multiply(dxg, w_ih, matrix(dx), add=resume)
        multiply(dxg.T, matrix(x)[:, : w_ih.shape[1]], dw_ih, add=True)
        self._add_hidden_product(dhg, slice(0, self._early), seen, dw_hh)
        if self.cell.late:
            self._add_hidden_product(dhg, slice(self._early, None), gated, dw_hh)
        if db_ih is not None:
            multiply(ones, dxg, db_ih.reshape(1, -1), add=True)
            multiply(ones, dhg, db_hh.reshape(1, -1), add=True)

    def _add_hidden_product(self, dhg, gates, seen, dw_hh):
        """Add dhg (T B, G H) times what its gates have seen (T, B heads, pitch), for each head.

        `gates` are the rows of a head's G H / heads.
        """
        depth = dw_hh.shape[1]
        seen = matrix(seen)[:, :depth].astype(self.dtype, copy=False)
        dhg, seen = (a.reshape(len(dhg), self.heads, -1).swapaxes(0, 1) for a in (dhg, seen))
        for dgates, factor, dw in zip(dhg, seen, dw_hh.reshape(self.heads, -1, depth)):
            multiply(dgates[:, gates].T, factor, dw[gates], add=True)

    def _add_own_gradients(self, dweights, tape, ones, totals):
        """Sum the gradients by the cell's own weights over the valid steps."""
        steps, batch = tape.x.shape[:2]
        rows, hidden = dweights.reshape(steps, batch, -1), self.hidden
        if tape.ragged:
            valid_rows(rows, tape.scratch.ends, rows)
        rows = matrix(rows)
        for i, total in enumerate(totals):
            of_one = rows[:, i * hidden : (i + 1) * hidden]
            multiply(ones, of_one, total.reshape(1, -1), add=True)


def matrix(a):
    """(T, B, N) as (T B, N)."""
    return a.reshape(a.shape[0] * a.shape[1], a.shape[2])
