"""One layer and direction on the CPU: which threads do what, and on which memory."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .backward import backward_rows
from .backward_units import backward_units
from .extras import as_triples
from .few_sequences import (
    BYTES_WORTH_PACKING,
    FewSequences,
    SequenceStepper,
    UnitsKernels,
    team_of_units,
)
from .forward import forward_rows
from .normalisation import HIDDEN
from .norms import Norms, of_products
from .products_of_all_steps import ProductsOfAllSteps
from .reduced import ReducedWeights
from .sharing import FEW, end_slots, spread
from .single_step import Stepper
from .threads import run_parallel, run_team, shares
from .trained_step import StepTape, TrainedStep
from .weight_gradients import add_own_gradients
from .weights import WeightOrder
from .workspace import empty

# For so many the way back packs recurrent weights, if they are large or there are more sequences.
STEPS_WORTH_PACKING = 24


@dataclass(slots=True)
class Tape:
    """What the forward pass keeps for the backward pass."""

    extras: tuple
    x: np.ndarray
    lengths: np.ndarray | None
    reverse: bool
    history: np.ndarray
    saved: np.ndarray
    gated: np.ndarray
    norms: tuple


class Recurrence:
    """The time loops of one cell, for one input and hidden size and dtype.

    `weights` and `grads` are tuples (w_ih (G H, I), w_hh (G H, H), b_ih (G H,) or None, b_hh), of a
    normalised cell with gain_ih, gain_hh (G H,) besides; forward also takes `ReducedWeights`, if
    nothing is to be kept. After those stand in `grads` the ones of the cell's own weights. `extras`
    is a tuple of contiguous arrays (H,), (B, H) or (T, B, H), the cell's own weights first.
    """

    def __init__(self, cell, input_size, hidden_size, dtype):
        self.cell, self.inputs, self.hidden = cell, input_size, hidden_size
        self.dtype = np.dtype(dtype)
        self._order = WeightOrder(cell, hidden_size, dtype)
        self.padded = self._order.padded
        self._apart = cell.apart or cell.normalised
        self._products = ProductsOfAllSteps(cell, self._order)
        self._norms = Norms(cell, hidden_size, self.padded, self.dtype)
        self._no_tape = np.empty((0, cell.saved, self.padded), dtype)
        self._no_projection = np.empty((0, 0, 0), dtype)
        width = self._order.panel_width
        self._panels_width = -(-self.padded // width) * width
        self._trained_step = TrainedStep(input_size, cell, self._order)
        self._forward_units, self._last_few = UnitsKernels(cell, self.dtype), None

    # The kernels are found by the whole of a cell's text: once is enough.

    @cached_property
    def _forward_rows(self):
        return forward_rows(self.cell, self.dtype)

    @cached_property
    def _backward_rows(self):
        return backward_rows(self.cell, self.dtype)

    @cached_property
    def _backward_units(self):
        return backward_units(self.cell, self.dtype)

    def _threads(self, lengths, steps, batch):
        valid = steps * batch if lengths is None else int(lengths.sum())
        work = 2 * valid * self.cell.gates * self.hidden * (self.hidden + self.inputs)
        return min(batch, shares(work))

    def forward(self, weights, extras, x, state, lengths, reverse, y, column, keep):
        """Run a whole batch of sequences.

        x (T, B, I), state (S, B, H) or None for zeros, lengths (B,) or None; writes H columns from
        `column` on of y (T, B, ...), which holds zeros past the sequences' ends already. Returns
        the final state (S, B, H) and, if `keep`, a tape, else None.
        """
        steps, batch = x.shape[:2]
        if keep and self._trained_step.takes(steps, batch):
            own = self._copy_of(state, batch)
            return self._trained_step.forward(weights, x, own, y, column)
        run = self._run_units if batch <= FEW else self._run_rows
        norms = self._norms.take(weights, steps * batch if keep else 0)
        weights = of_products(self.cell, weights)
        if not keep:
            gated = np.empty((batch if self.cell.late else 0, self.padded), self.dtype)
            history = empty((self.cell.states, 2, batch, self.padded), self.dtype)
            final = run(
                weights, extras, norms, x, state, lengths, reverse, y, column, history,
                self._no_tape, gated, False,
            )  # fmt: skip
            return final, None
        rows = steps * batch
        history = empty((self.cell.states, steps + 1, batch, self.padded), self.dtype)
        saved = empty((rows, self.cell.saved, self.padded), self.dtype)
        gated = empty((rows if self.cell.late else 0, self.padded), self.dtype)
        final = run(
            weights, extras, norms, x, state, lengths, reverse, y, column, history, saved, gated,
            True,
        )  # fmt: skip
        return final, Tape(extras, x, lengths, reverse, history, saved, gated, norms)

    def stepper(self, state, steps=1):
        """A function (weights, extras, x (T, B, I), y (T, B, H)) that steps on from `state`.

        It takes so many steps at a time (see `steps_together`), and writes y, and the new state
        (S, B, H) in place of the old.
        """
        told = self.cell, self._order, state, self._norms
        if steps == 1:
            return Stepper(self.inputs, *told)
        return SequenceStepper(self._few((steps, state.shape[1], self.inputs), None), *told)

    def _copy_of(self, state, batch):
        """A state, or zeros for None, in a new array (S, B, H)."""
        if state is None:
            return np.zeros((self.cell.states, batch, self.hidden), self.dtype)
        return state.copy()

    def _few(self, shape, lengths):
        """The `FewSequences` of a shape; those of full length are often asked for again."""
        few = self._last_few
        if lengths is not None or few is None or few.shape != shape:
            few = FewSequences(self._forward_units, self.cell, self._order, shape, lengths)
            if lengths is None:
                self._last_few = few
        return few

    def _run_units(
        self, weights, extras, norms, x, state, lengths, reverse, y, column, history, saved, gated,
        keep,
    ):  # fmt: skip
        final = self._copy_of(state, x.shape[1])
        few = self._few(x.shape, lengths)
        few.run(
            few.room(), weights, extras, norms, x, final, reverse, y, column, history, saved, gated,
            keep,
        )  # fmt: skip
        return final

    def _run_rows(
        self, weights, extras, norms, x, state, lengths, reverse, y, column, history, saved, gated,
        keep,
    ):  # fmt: skip
        steps, batch = x.shape[:2]
        if isinstance(weights, ReducedWeights):
            weights = weights.expanded()
        first, last = end_slots(lengths, steps, batch, history.shape[1], reverse)
        history[:, *first, : self.hidden] = 0 if state is None else state
        history[:, *first, self.hidden :] = 0
        wx, wh, wq = (self._order.input_panels(weights), *self._order.hidden_panels(weights))
        run_parallel(
            self._forward_rows,
            [
                (
                    x, rows, counts, wx, wh, wq, self.hidden, self.hidden, as_triples(extras),
                    norms, history, y.reshape(-1), column, y.shape[2], saved, gated, keep, reverse,
                )
                for rows, counts in spread(
                    lengths, steps, batch, self._threads(lengths, steps, batch)
                )
            ],
        )  # fmt: skip
        return np.array(history[:, *last, : self.hidden], order="C")

    def backward(self, weights, tape, dy, column, dstate, grads, dx, resume):
        """Back-propagate through the whole batch.

        Reads H columns from `column` on of dy (T, B, ...) and dstate (S, B, H), None for zeros;
        adds into `grads`, writes (adds into, if `resume`) dx (T, B, I). Returns the gradient by
        the initial state.
        """
        steps, batch = tape.x.shape[:2]
        if isinstance(tape, StepTape):
            own = self._copy_of(dstate, batch)
            return self._trained_step.backward(weights, tape, dy, column, own, grads, dx, resume)
        cell = self.cell
        shape = (steps, batch, cell.gates, self.padded)
        dxg = empty(shape, self.dtype)
        dhg = empty(shape, self.dtype) if self._apart else dxg
        dweights = empty((steps, batch, len(cell.weights), self.padded), self.dtype)
        dstate = self._copy_of(dstate, batch)
        hidden_norms = self._run_back(weights, tape, dy, column, dstate, dxg, dhg, dweights, grads)
        if tape.lengths is None:
            valid = np.arange(steps * batch)
        else:
            valid = np.flatnonzero(np.arange(steps)[:, None] < tape.lengths)
        if cell.normalised:
            input_norms = self._norms.back_through_inputs(tape.norms, valid, dxg)
            _, _, db_ih, db_hh, dgain_ih, dgain_hh = grads[:6]
            self._norms.add_gradients(input_norms, dgain_ih, db_ih)
            self._norms.add_gradients(hidden_norms, dgain_hh, db_hh)
        self._products.back(
            dxg, dhg, valid, tape.x, self._met(tape), tape.gated, weights[0],
            of_products(cell, grads[:4]), dx, resume,
        )  # fmt: skip
        for number, total in enumerate(grads[len(weights) :]):
            add_own_gradients(dweights, valid, number, total)
        return dstate

    def _run_back(self, weights, tape, dy, column, dstate, dxg, dhg, dweights, grads):
        """All steps back: write dxg, dhg and dweights, renew dstate in place.

        Returns what `Norms.add_gradients` takes of the hidden states'.
        """
        run = self._run_back_units if tape.x.shape[1] <= FEW else self._run_back_rows
        return run(weights[1], tape, dy, column, dstate, dxg, dhg, dweights)

    def _run_back_units(self, w_hh, tape, dy, column, dstate, dxg, dhg, dweights):
        steps, batch = tape.x.shape[:2]
        cell = self.cell
        ((rows, counts),) = spread(tape.lengths, steps, batch, 1)
        (norm,) = self._norms.back(tape.norms, HIDDEN, 1)
        wh = wq = self._order.no_panels
        if steps >= STEPS_WORTH_PACKING and (batch > 1 or w_hh.nbytes >= BYTES_WORTH_PACKING):
            wh, wq = self._order.hidden_panels_back(w_hh)
        carry_shape = batch, self._panels_width
        run_team(
            self._backward_units, *team_of_units(cell, self.hidden, steps, batch, back=True),
            (
                dy.reshape(-1), column, dy.shape[2], rows, counts, w_hh, wh, wq,
                as_triples(tape.extras), norm, tape.history, tape.saved, dxg, dhg, dweights,
                np.empty((cell.states, *carry_shape), self.dtype),
                np.empty(carry_shape if cell.late else (0, 0), self.dtype),
                np.empty(batch * cell.carried * self.padded, self.dtype), dstate, tape.reverse,
            ),
        )  # fmt: skip
        return (norm,)

    def _run_back_rows(self, w_hh, tape, dy, column, dstate, dxg, dhg, dweights):
        steps, batch = tape.x.shape[:2]
        wh, wq = self._order.hidden_panels_back(w_hh)
        threads = self._threads(tape.lengths, steps, batch)
        norms = self._norms.back(tape.norms, HIDDEN, threads)
        run_parallel(
            self._backward_rows,
            [
                (
                    dy.reshape(-1), column, dy.shape[2], rows, counts, wh, wq, self.hidden,
                    as_triples(tape.extras), norm, tape.history, tape.saved, dxg, dhg, dweights,
                    self._no_projection, dstate, tape.reverse,
                )
                for norm, (rows, counts) in zip(
                    norms, spread(tape.lengths, steps, batch, threads)
                )
            ],
        )  # fmt: skip
        return norms

    def _seen(self, tape):
        """What the recurrent product sees (T + 1, B, H'), by slots of the history."""
        return tape.history[0]

    def _met(self, tape):
        """What it saw of each step."""
        seen = self._seen(tape)
        return seen[1:] if tape.reverse else seen[:-1]
