"""One layer and direction on the CPU: packs the weights, spreads the sequences over threads."""

from dataclasses import dataclass

import numpy as np

from .backward import backward_rows
from .compiling import kernel
from .forward import BLOCK_ROWS, forward_rows
from .forward_units import forward_units
from .gradients import add_column_sums, add_outer_product
from .threads import run_parallel, run_team, shares, split
from .weights import WeightOrder
from .workspace import give_back, take

import os

FEW = int(os.environ.get("FEW", "1"))
THREADS = int(os.environ.get("THR", "1"))
WORTH_PACKING = int(os.environ.get("WP", "16"))


@kernel("add_weight_gradients")
def _add_weight_gradients(
    dxg, dhg, valid, first, last, early, x, h, gated, dw_ih, dw_hh, db_ih, db_hh
):
    """Add what the units first .. last - 1 of all gates contribute; `early` gates saw h, not gated.

    `valid` numbers the rows (t, b) of dxg (T, B, G, H'), x, h and gated that count.
    """
    gates, padded = dxg.shape[2:]
    late, hidden, inputs = gates - early, dw_hh.shape[1], dw_ih.shape[1]
    dx_flat, dh_flat, dw_flat = dxg.reshape(-1), dhg.reshape(-1), dw_hh.reshape(-1)
    rows, h_rows = valid * (gates * padded), valid * padded
    add_outer_product(
        dx_flat, rows, gates, padded, first, last, x.reshape(-1), valid * inputs, inputs,
        dw_ih.reshape(-1), hidden,
    )  # fmt: skip
    add_outer_product(
        dh_flat, rows, early, padded, first, last, h.reshape(-1), h_rows, hidden, dw_flat, hidden
    )
    if late:
        add_outer_product(
            dh_flat, rows + early * padded, late, padded, first, last, gated.reshape(-1), h_rows,
            hidden, dw_flat[early * hidden * hidden :], hidden,
        )  # fmt: skip
    if db_ih.size:
        add_column_sums(dx_flat, rows, gates, padded, first, last, db_ih, hidden)
        add_column_sums(dh_flat, rows, gates, padded, first, last, db_hh, hidden)


@dataclass
class Tape:
    """What the forward pass keeps for the backward pass."""

    x: np.ndarray
    lengths: np.ndarray | None
    reverse: bool
    history: np.ndarray
    saved: np.ndarray
    gated: np.ndarray

    def __del__(self):
        give_back(self.history, self.saved, self.gated)


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
        self._order = WeightOrder(cell, hidden_size, dtype)
        self.padded, self._early = self._order.padded, cell.gates - cell.late
        self._nothing = np.empty(0, dtype)

    def _shares(self, lengths, steps, batch, threads=None):
        """For each thread its sequences by falling length, and how many of them reach each step."""
        valid = steps * batch if lengths is None else int(lengths.sum())
        per_step = self.cell.gates * self.hidden * (self.hidden + self.inputs)
        threads = threads or min(batch, shares(2 * valid * per_step))
        if lengths is None:
            parts = [np.arange(first, last) for first, last in split(batch, threads)]
            return [(rows, np.full(steps, rows.size)) for rows in parts]
        order = np.argsort(-lengths, kind="stable")
        parts = [np.ascontiguousarray(order[i::threads]) for i in range(threads)]
        return [(p, (lengths[p] > np.arange(steps)[:, None]).sum(1)) for p in parts]

    def forward(self, weights, x, state, lengths, reverse, y, column, keep):
        """Run a whole batch of sequences.

        x (T, B, I), state (S, B, H), lengths (B,) or None; writes H columns from `column` on of
        y (T, B, ...), which holds zeros past the sequences' ends already. Returns the final
        state (S, B, H) and, if `keep`, a tape, else None.
        """
        if x.shape[1] <= FEW:
            return self._forward_units(weights, x, state, lengths, reverse, y, column, keep)
        steps, batch = x.shape[:2]
        slots = steps + 1 if keep else 2
        cell, sequences = self.cell, np.arange(batch)
        history = take((cell.states, slots, batch, self.padded), self.dtype)
        ends = np.full(batch, steps) if lengths is None else lengths
        first, last = (ends % slots, 0) if reverse else (0, ends % slots)
        history[:, first, sequences, : self.hidden] = state
        history[:, first, sequences, self.hidden :] = 0
        rows_kept = steps * batch if keep else 0
        saved = take((rows_kept, cell.saved, self.padded), self.dtype)
        gated_rows = (rows_kept or batch) if cell.late else 0
        gated = take((gated_rows, self.padded), self.dtype)
        wx, wh, wq = self._order.forward_panels(weights)
        run_parallel(
            forward_rows(cell, self.dtype),
            [
                (
                    x, rows, counts, wx, wh, wq, self.hidden, history,
                    y.reshape(-1), column, y.shape[2], saved, gated, keep, reverse,
                )
                for rows, counts in self._shares(lengths, steps, batch)
            ],
        )  # fmt: skip
        final = np.ascontiguousarray(history[:, last, sequences, : self.hidden])
        tape = Tape(x, lengths, reverse, history, saved, gated)
        return final, tape if keep else None

    def _forward_units(self, weights, x, state, lengths, reverse, y, column, keep):
        steps, batch = x.shape[:2]
        cell = self.cell
        history = take((cell.states, steps + 1 if keep else 2, batch, self.padded), self.dtype)
        rows_kept = steps * batch if keep else 0
        saved = take((rows_kept, cell.saved, self.padded), self.dtype)
        gated = take(((rows_kept or batch) if cell.late else 0, self.padded), self.dtype)
        w_ih, w_hh, b_ih, b_hh = weights
        if b_ih is None:
            b_ih = b_hh = np.zeros(cell.gates * self.hidden, self.dtype)
        wx = self._nothing.reshape(0, 0, 0)
        if steps * batch >= WORTH_PACKING:
            wx = self._order.input_panels(weights)
        xg = np.empty(
            max(1, BLOCK_ROWS // batch) * batch * (-(-cell.gates * self.padded // 16) * 16),
            self.dtype,
        )
        kept = np.empty(batch * cell.kept * self.padded, self.dtype)
        final = np.empty((cell.states, batch, self.hidden), self.dtype)
        ((rows, counts),) = self._shares(lengths, steps, batch, 1)
        run_team(
            forward_units(cell, self.dtype),
            THREADS,
            (
                x,
                rows,
                counts,
                w_ih,
                w_hh,
                b_ih,
                b_hh,
                wx,
                np.ascontiguousarray(state),
                final,
                history,
                xg,
                y.reshape(-1),
                column,
                y.shape[2],
                saved,
                gated,
                kept,
                keep,
                reverse,
            ),
        )
        tape = Tape(x, lengths, reverse, history, saved, gated)
        return final, tape if keep else None

    def backward(self, weights, tape, dy, column, dstate, grads, dx, resume):
        """Back-propagate through the whole batch.

        Reads H columns from `column` on of dy (T, B, ...) and dstate (S, B, H), adds into
        `grads`, writes (adds into, if `resume`) dx (T, B, I). Returns the gradient by the
        initial state.
        """
        steps, batch = tape.x.shape[:2]
        cell = self.cell
        shape = (steps, batch, cell.gates, self.padded)
        dxg = take(shape, self.dtype)
        dhg = take(shape, self.dtype) if cell.apart else dxg
        dstate = dstate.copy()
        panels = self._order.backward_panels(weights)
        run_parallel(
            backward_rows(cell, self.dtype),
            [
                (
                    dy.reshape(-1), column, dy.shape[2], rows, counts, *panels, self.hidden,
                    tape.history, tape.saved, dxg, dhg, dstate, dx, resume, tape.reverse,
                )
                for rows, counts in self._shares(tape.lengths, steps, batch)
            ],
        )  # fmt: skip
        self._add_weight_gradients(tape, dxg, dhg, grads)
        give_back(*((dxg, dhg) if cell.apart else (dxg,)))
        return dstate

    def _add_weight_gradients(self, tape, dxg, dhg, grads):
        """The large products of the gates' gradients with the inputs and the hidden states."""
        steps, batch = tape.x.shape[:2]
        if tape.lengths is None:
            valid = np.arange(steps * batch)
        else:
            valid = np.flatnonzero(np.arange(steps)[:, None] < tape.lengths)
        previous = tape.history[0, 1:] if tape.reverse else tape.history[0, :-1]
        dw_ih, dw_hh, db_ih, db_hh = grads
        if db_ih is None:
            db_ih = db_hh = self._nothing
        work = 2 * valid.size * self.cell.gates * self.hidden * (self.hidden + self.inputs)
        run_parallel(
            _add_weight_gradients,
            [
                (
                    dxg, dhg, valid, first, last, self._early, tape.x, previous, tape.gated,
                    dw_ih, dw_hh, db_ih, db_hh,
                )
                for first, last in split(self.hidden, shares(work))
            ],
        )  # fmt: skip
