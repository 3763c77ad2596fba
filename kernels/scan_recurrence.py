"""One layer and direction of a light recurrence, for both devices: products, then the scan.

On the way back the scan comes first. Nothing here waits for the device or reads from it.
"""

from dataclasses import dataclass

from .causal_convolution import CausalConvolution
from .matrices import every_row, rows_of
from .steps_by_forward import StepsByForward


@dataclass
class Tape:
    """What the forward pass keeps; `convolution` is the tape of the inputs' products."""

    extras: tuple
    x: object
    column: int
    ends: object
    reverse: bool
    initial: object
    products: object
    states: object
    convolution: object


class ScanRecurrence(StepsByForward):
    """One layer and direction of a `ScanCell` or `LinearCell`, with the methods of `Recurrence`.

    `kernels` and `xp` are those of the device, `cpu` and numpy, say; gates see the inputs of
    `window` steps. `weights` and `grads` are tuples (w_ih (G H, window I), None, b_ih (G H,) or
    None, None), in `grads` followed by those of the cell's own weights, which are the `extras`.

    The states (S, B, H) are the cell's own, then, of a window over past steps, the products
    pending for each of the next: those of all gates for the next step, and so on.
    """

    def __init__(self, kernels, xp, cell, hidden_size, window=1):
        self._kernels, self._xp, self._cell, self._hidden = kernels, xp, cell, hidden_size
        self._convolution = CausalConvolution(kernels, xp, window)

    def forward(self, weights, extras, x, state, lengths, reverse, y, column, keep):
        """As `Recurrence.forward`; lengths on the device."""
        xp, (steps, batch, _) = self._xp, x.shape
        state = self._given(state, batch, x.dtype)
        ends = xp.full(batch, steps) if lengths is None else lengths
        products, pending, convolution = self._convolution.forward(
            weights[0], weights[2], x, self._pending(state), ends, lengths is not None, reverse
        )
        carry = xp.array(state[0], order="C")
        states = self._kernels.empty((steps, batch, self._hidden), x.dtype) if keep else None
        self._kernels.scan_forward(
            self._cell, self._read(products, x, column, extras), ends, reverse, carry, y, column,
            states,
        )  # fmt: skip
        final, tape = self._state(carry, pending), None
        if keep:
            initial = xp.ascontiguousarray(state[0])
            tape = Tape(
                extras, x, column, ends, reverse, initial, products, states, convolution
            )  # fmt: skip
        return final, tape

    def backward(self, weights, tape, dy, column, dstate, grads, dx, resume):
        """As `Recurrence.backward`."""
        xp, cell, (steps, batch, _) = self._xp, self._cell, tape.x.shape
        dstate = self._given(dstate, batch, dy.dtype)
        dsums = self._convolution.room_for_gradients(tape.convolution, cell.gates * self._hidden)
        shape = cell.reads - cell.gates, steps, batch, self._hidden
        others = self._kernels.zeros(shape, dy.dtype)
        dread = (
            *self._gates(dsums[tape.convolution.steps]), *(rows_of(other, 0) for other in others),
        )  # fmt: skip
        carry = xp.array(dstate[0], order="C")
        self._kernels.scan_backward(
            cell, self._read(tape.products, tape.x, tape.column, tape.extras), dread, tape.ends,
            tape.reverse, tape.initial, carry, tape.states, dy, column,
        )  # fmt: skip
        by_x, dpending = self._convolution.backward(
            weights[0], tape.convolution, dsums, self._pending(dstate), grads[0], grads[2]
        )
        if resume:
            dx += by_x
        else:
            dx[...] = by_x
        if cell.highway:
            dx[:, :, tape.column : tape.column + self._hidden] += others[0]
        for total, by_step in zip(grads[4:], others[cell.highway :]):
            total += by_step.sum((0, 1))
        return self._state(carry, dpending)

    def _given(self, state, batch, dtype):
        """A state (S, B, H), of zeros if None was given."""
        if state is not None:
            return state
        states = 1 + self._convolution.past * self._cell.gates
        return self._xp.zeros((states, batch, self._hidden), dtype)

    def _gates(self, products):
        """The matrices of the gates' products (T, B, G H)."""
        return [rows_of(products, g * self._hidden) for g in range(self._cell.gates)]

    def _read(self, products, x, column, extras):
        """The matrices of all that the cell reads."""
        highway = [rows_of(x, column)] if self._cell.highway else []
        return (*self._gates(products), *highway, *map(every_row, extras))

    def _pending(self, state):
        """From states (S, B, H) the products (k - 1, B, G H) that are pending."""
        past, gates = self._convolution.past, self._cell.gates
        _, batch, hidden = state.shape
        by_gate = state[1:].reshape(past, gates, batch, hidden)
        return by_gate.swapaxes(1, 2).reshape(past, batch, gates * hidden)

    def _state(self, carry, pending):
        """The states (S, B, H) from what `_pending` takes out of them, and the first."""
        if not len(pending):
            return carry[None]
        batch, hidden = carry.shape
        by_gate = pending.reshape(len(pending), batch, self._cell.gates, hidden).swapaxes(1, 2)
        return self._xp.concatenate((carry[None], by_gate.reshape(-1, batch, hidden)))
