"""One step of a few sequences in training, forward and back: each a single kernel, on one thread.

Around a step of a small layer all that a time loop and large products need to begin would take
longer than the step itself.
"""

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from ..specialise import text_of_cell
from .backward_units import step_back
from .compiling import kernel
from .few_rows import are_few, back_through_few_products
from .sharing import FEW
from .single_step import step_of, takes_more
from .threads import LOOP_WORTH_SHARING
from .views import flattened


@cache
def _forward(cell, dtype):
    """The kernel (x, weights..., state, y, column, history, saved, gated): see `TrainedStep`."""
    gates, kept_count, take_step = cell.gates, cell.kept, step_of(cell, dtype, packed=False)

    @kernel(f"trained_step forward {text_of_cell(cell)} {dtype}")
    def forward(x, w_ih, w_hh, b_ih, b_hh, state, y, column, history, saved, gated):
        (_, batch, inputs), padded = x.shape, history.shape[3]
        pitch, offsets = gates * padded, np.empty((4, batch), np.intp)
        for r in range(batch):
            offsets[0, r], offsets[1, r], offsets[2, r], offsets[3, r] = r, r * inputs, r * pitch, r
        products = np.empty((2, batch * pitch), x.dtype)
        own = np.empty(batch, np.intp)
        kept, nothing = np.empty(batch * kept_count * padded, x.dtype), b_ih[:0]
        take_step(
            offsets, 0, padded, x, w_ih, w_hh, nothing, nothing, b_ih, b_hh, nothing, nothing,
            nothing, (), (), state, history, products[0], products[1], pitch, offsets, own, y,
            column, saved, gated, kept, True,
        )  # fmt: skip

    return forward


@cache
def _backward(cell, dtype):
    """The kernel (dy, column, x, w_ih, w_hh, history, saved, gated, dstate, grads..., dx, resume):
    see `TrainedStep`."""
    gates, early, apart, states, carried_count = (
        cell.gates, cell.gates - cell.late, cell.apart, cell.states, cell.carried,
    )  # fmt: skip
    take_step_back = step_back(cell, dtype)

    @kernel(f"trained_step backward {text_of_cell(cell)} {dtype}")
    def backward(
        dy, column, x, w_ih, w_hh, history, saved, gated, dstate, dw_ih, dw_hh, db_ih, db_hh, dx,
        resume,
    ):  # fmt: skip
        batch, hidden, padded = x.shape[1], w_hh.shape[1], history.shape[3]
        rows, no_panels = np.arange(batch), saved[:0]
        dxg = np.empty((1, batch, gates, padded), x.dtype)
        dhg = np.empty((1, batch, gates, padded), x.dtype) if apart else dxg
        dweights = np.empty((1, batch, 0, padded), x.dtype)
        carry = np.empty((states, batch, padded), x.dtype)
        dgated = np.empty(batch * padded, x.dtype)
        carried = np.empty(batch * carried_count * padded, x.dtype)
        for s in range(states):
            for r in range(batch):
                for j in range(padded):
                    carry[s, r, j] = dstate[s, r, j] if j < hidden else 0
        take_step_back(
            rows, 0, 1, 0, 0, padded, batch, 0, 0, 1, rows, flattened(dy), column, dy.shape[2],
            flattened(w_hh), no_panels, no_panels, hidden, (), (), history, saved, dxg, dhg,
            dweights, flattened(carry), rows * padded, batch * padded, dgated, carried,
            np.empty(batch, np.intp),
        )  # fmt: skip
        for s in range(states):
            for r in range(batch):
                for j in range(hidden):
                    dstate[s, r, j] = carry[s, r, j]
        back_through_few_products(
            dxg, dhg, rows, x, history, gated, early, w_ih, dw_ih, dw_hh, db_ih, db_hh, dx, resume
        )

    return backward


@dataclass(slots=True)
class StepTape:
    """What a step forward keeps for the way back."""

    x: np.ndarray
    history: np.ndarray
    saved: np.ndarray
    gated: np.ndarray


class TrainedStep:
    """The steps of one cell, for one input and hidden size.

    `order` is the `WeightOrder`. For the methods' arguments see `Recurrence`, for the layout of
    what is kept `passes`.
    """

    def __init__(self, inputs, cell, order):
        self._cell, self._order = cell, order
        self._multiplications = cell.gates * order.hidden * order.hidden
        self._weights = cell.gates * order.hidden * (order.hidden + inputs)

    @cached_property
    def _forward(self):
        return _forward(self._cell, self._order.dtype)

    @cached_property
    def _backward(self):
        return _backward(self._cell, self._order.dtype)

    def takes(self, steps, batch):
        """Whether so many steps of so many sequences are taken so: one, for which weights are not
        worth packing, nor other threads worth waking."""
        return (
            steps == 1
            and batch <= FEW
            and not takes_more(self._cell)
            and batch * self._multiplications < LOOP_WORTH_SHARING
            and are_few(batch, self._weights)
        )

    def forward(self, weights, x, state, y, column):
        cell, (_, batch, _), dtype = self._cell, x.shape, self._order.dtype
        w_ih, w_hh, b_ih, b_hh = weights
        if b_ih is None:
            b_ih = b_hh = self._order.no_bias
        padded = self._order.padded
        history = np.empty((cell.states, 2, batch, padded), dtype)
        saved = np.empty((batch, cell.saved, padded), dtype)
        gated = np.empty((batch if cell.late else 0, padded), dtype)
        self._forward(x, w_ih, w_hh, b_ih, b_hh, state, y, column, history, saved, gated)
        return state, StepTape(x, history, saved, gated)

    def backward(self, weights, tape, dy, column, dstate, grads, dx, resume):
        w_ih, w_hh, _, _ = weights
        dw_ih, dw_hh, db_ih, db_hh = grads
        if db_ih is None:
            db_ih = db_hh = self._order.nothing
        self._backward(
            dy, column, tape.x, w_ih, w_hh, tape.history, tape.saved, tape.gated, dstate,
            dw_ih, dw_hh, db_ih, db_hh, dx, resume,
        )  # fmt: skip
        return dstate
