"""Layers of random numbers, for timing the schedules that could run those of a shape."""

import cupy
import numpy as np

from . import schedules
from .recurrence import Recurrence
from .stacked import in_launches
from .together import run_together


class _Layer:
    """A layer's random weights and state, of a `Problem`, and room for its gradients."""

    def __init__(self, problem, inputs, rng):
        cell, heads = problem.cell, problem.heads
        hidden = heads * problem.hidden
        rows = cell.gates * hidden

        def numbers(*shape):
            return cupy.asarray(0.1 * rng.standard_normal(shape), problem.dtype)

        self.weights = (
            numbers(rows, inputs), numbers(rows, problem.hidden), numbers(rows), numbers(rows),
        )  # fmt: skip
        self.extras = tuple(numbers(hidden) for _ in range(cell.extras))
        self.grads = [*map(cupy.zeros_like, self.weights)]
        self.grads += map(cupy.zeros_like, self.extras[: len(cell.weights)])
        self.state = numbers(cell.states, problem.batch, hidden)
        self.recurrence = Recurrence(cell, inputs, hidden, problem.dtype, heads)

    def forward(self, x, y, column, reverse, keep):
        return self.recurrence.forward(
            self.weights, self.extras, x, self.state, None, reverse, y, column, keep
        )

    def backward(self, tape, dy, column, dx, resume):
        return self.recurrence.backward(
            self.weights, tape, dy, column, self.state, self.grads, dx, resume
        )


class Trial:
    """Called with plans, it runs the `Problem` of one layer by them: forward and, if it keeps,
    back."""

    def __init__(self, problem):
        rng = np.random.default_rng(0)
        steps, batch, directions = problem.steps, problem.batch, problem.directions
        self._layer, self._keep = _Layer(problem, 1, rng), problem.keep
        self._hidden, self._directions = problem.heads * problem.hidden, range(directions)
        self._x = cupy.asarray(rng.standard_normal((steps, batch, 1)), problem.dtype)
        self._y = cupy.empty((steps, batch, directions * self._hidden), problem.dtype)
        self._dx = cupy.empty_like(self._x)

    def __call__(self, plans):
        with schedules.forced(plans):
            tapes = [tape for _, tape in run_together(self._forward, self._directions)]
            if self._keep:
                run_together(lambda d: self._backward(d, tapes[d]), self._directions)

    def _forward(self, direction):
        column = direction * self._hidden
        return self._layer.forward(self._x, self._y, column, bool(direction), self._keep)

    def _backward(self, direction, tape):
        column = direction * self._hidden
        return self._layer.backward(tape, self._y, column, self._dx, bool(direction))


class LayersTrial:
    """As `Trial`, of several layers: as many at once as the plans are for, the rest one by one."""

    def __init__(self, problem):
        rng = np.random.default_rng(0)
        self._problem, hidden = problem, problem.hidden
        self._layers = [_Layer(problem, hidden if i else 1, rng) for i in range(problem.layers)]
        shape = (problem.steps, problem.batch, 1)
        self._x = cupy.asarray(rng.standard_normal(shape), problem.dtype)

    def __call__(self, plans):
        x, ways_back, rest = self._x, [], self._layers
        for stack in in_launches(self._problem, plans):
            count = stack.layers if stack else 1
            layers, rest = rest[:count], rest[count:]
            x, back = self._run_stack(stack, layers, x) if stack else self._run(layers[0], x)
            ways_back.append(back)
        if self._problem.keep:
            dy = x
            for back in reversed(ways_back):
                dy = back(dy)

    def _run(self, layer, x):
        """(y, the way back) of one layer."""
        y = self._room_for_outputs()
        _, tape = layer.forward(x, y, 0, False, self._problem.keep)

        def back(dy):
            dx = cupy.empty_like(x)
            layer.backward(tape, dy, 0, dx, False)
            return dx

        return y, back

    def _run_stack(self, stack, layers, x):
        """(y, the way back) of layers that run at once."""
        y = self._room_for_outputs()
        weights, extras, states, grads = (
            [getattr(layer, name) for layer in layers]
            for name in ("weights", "extras", "state", "grads")
        )
        _, tape = stack.forward(weights, extras, x, states, None, y, self._problem.keep)

        def back(dy):
            dx = cupy.empty_like(x)
            stack.backward(weights, tape, dy, states, grads, dx)
            return dx

        return y, back

    def _room_for_outputs(self):
        _, hidden, batch, steps, dtype, *_ = self._problem
        return cupy.empty((steps, batch, hidden), dtype)
