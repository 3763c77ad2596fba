"""A layer of random numbers, for timing the schedules that could run one of its shape."""

import cupy
import numpy as np

from . import schedules
from .recurrence import Recurrence
from .together import run_together


class Trial:
    """Called with plans, it runs the `Problem` by them: forward and, if it keeps, back."""

    def __init__(self, problem):
        cell, of_head, batch, steps, dtype, keep, directions, heads = problem
        hidden = heads * of_head
        self._recurrence, self._keep = Recurrence(cell, 1, hidden, dtype, heads), keep
        self._directions = range(directions)
        rows, rng = cell.gates * hidden, np.random.default_rng(0)

        def numbers(*shape):
            return cupy.asarray(0.1 * rng.standard_normal(shape), dtype)

        self._weights = numbers(rows, 1), numbers(rows, of_head), numbers(rows), numbers(rows)
        self._extras = tuple(numbers(hidden) for _ in range(cell.extras))
        self._grads = [*map(cupy.zeros_like, self._weights)]
        self._grads += map(cupy.zeros_like, self._extras[: len(cell.weights)])
        self._x, self._y = numbers(steps, batch, 1), numbers(steps, batch, directions * hidden)
        self._state = numbers(cell.states, batch, hidden)
        self._dx = cupy.empty_like(self._x)

    def __call__(self, plans):
        with schedules.forced(plans):
            tapes = [tape for _, tape in run_together(self._forward, self._directions)]
            if self._keep:
                run_together(lambda d: self._backward(d, tapes[d]), self._directions)

    def _forward(self, direction):
        column = direction * self._recurrence.hidden
        return self._recurrence.forward(
            self._weights, self._extras, self._x, self._state, None, bool(direction), self._y,
            column, self._keep,
        )  # fmt: skip

    def _backward(self, direction, tape):
        column = direction * self._recurrence.hidden
        return self._recurrence.backward(
            self._weights, tape, self._y, column, self._state, self._grads, self._dx,
            bool(direction),
        )  # fmt: skip
