"""Recurrent weights of several heads on the CPU: a time loop for each head, of its units alone.

Units of different heads never meet: a head is a layer of its own, of the same inputs, which
writes its own columns of the output. One head after the other runs all steps, and its weights
stay in the cache meanwhile. What this costs: the weights' rows are put head by head, once a
call; inputs are read again for every head; and each head's units are padded to whole vectors.
"""

import numpy as np

from .recurrence import Recurrence


class HeadedRecurrence:
    """As `Recurrence`, with recurrent weights of `heads` blocks: w_hh is (G H, H / heads).

    Unit j of head k is unit k H / heads + j of the layer, and sees the hidden states of its head
    only.
    """

    def __init__(self, cell, input_size, hidden_size, heads, dtype):
        size = hidden_size // heads
        self._size, self._of_head = size, Recurrence(cell, input_size, size, dtype)
        self._units = [slice(head * size, (head + 1) * size) for head in range(heads)]

    def forward(self, weights, extras, x, state, lengths, reverse, y, column, keep):
        weights, finals, tapes = self._by_head(weights), [], []
        for head, units in enumerate(self._units):
            final, tape = self._of_head.forward(
                _rows(weights, head), _of_units(extras, units), x, _part(state, units), lengths,
                reverse, y, column + units.start, keep,
            )  # fmt: skip
            finals.append(final)
            tapes.append(tape)
        return np.concatenate(finals, axis=2), tapes if keep else None

    def stepper(self, state, steps=1):
        own_states = [np.empty_like(state[..., units], order="C") for units in self._units]
        steppers = [self._of_head.stepper(own, steps) for own in own_states]
        own_y = np.empty((steps, state.shape[1], self._size), state.dtype)

        def step(weights, extras, x, y):
            weights = self._by_head(weights)
            for head, units in enumerate(self._units):
                own_states[head][...] = state[..., units]
                steppers[head](_rows(weights, head), _of_units(extras, units), x, own_y)
                y[..., units], state[..., units] = own_y, own_states[head]

        return step

    def backward(self, weights, tape, dy, column, dstate, grads, dx, resume):
        weights, dinitial = self._by_head(weights), []
        own_grads = [g if g is None else np.zeros_like(self._heads_of(g), order="C") for g in grads]
        for head, units in enumerate(self._units):
            by_state = self._of_head.backward(
                _rows(weights, head), tape[head], dy, column + units.start, _part(dstate, units),
                _rows(own_grads, head), dx, resume or head > 0,
            )  # fmt: skip
            dinitial.append(by_state)
        for total, own in zip(grads, own_grads):
            if total is not None:
                of_heads = self._heads_of(total)
                of_heads += own
        return np.concatenate(dinitial, axis=2)

    def _heads_of(self, array):
        """A view of (G H, ...), of a cell's own weights (H,): (heads, G or 1, H / heads, ...)."""
        rows = array.reshape(-1, len(self._units), self._size, *array.shape[1:])
        return rows.swapaxes(0, 1)

    def _by_head(self, weights):
        return [w if w is None else np.ascontiguousarray(self._heads_of(w)) for w in weights]


def _rows(arrays, head):
    """A head's rows of arrays that are contiguous head by head; None stays None."""
    return tuple(a if a is None else a[head].reshape(-1, *a.shape[3:]) for a in arrays)


def _part(state, units):
    """What some units have of a state (S, B, H), or of None."""
    return None if state is None else state[..., units]


def _of_units(extras, units):
    """What some units have of extras (..., H)."""
    return tuple(np.ascontiguousarray(extra[..., units]) for extra in extras)
