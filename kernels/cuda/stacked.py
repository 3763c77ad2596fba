"""Several layers of one cell and size, in one direction, by one launch of the persistent schedule.

A layer is at step t when the layer below is at step t + 1: L layers take T + L - 1 steps in place
of L T. In the launch's order, which going back is from the uppermost down, each layer but the
first is fed by the one before it, and keeps the weights for that on the chip, too.
"""

import cupy
import numpy as np

from . import persistent, schedules
from .dropping import arguments_of
from .plans import padded
from .recurrence import Recurrence
from .together import run_together
from .tuning import Problem


def layers_together(cell, hidden_size, batch, steps, dtype, keep, layers):
    """By what so many layers of a size are run, from the lowest on: a `StackedRecurrence` for
    several of them, None for one by itself."""
    problem = Problem(cell, hidden_size, batch, steps, np.dtype(dtype), keep, 1, 1, layers)
    return in_launches(problem, schedules.plans_here(*problem))


def in_launches(problem, plans):
    """As `layers_together`, by given plans."""
    if not plans:
        return [None] * problem.layers
    stack = StackedRecurrence(problem.cell, problem.hidden, problem.dtype, plans)
    launches, rest = divmod(problem.layers, stack.layers)
    return [stack] * launches + [None] * rest


class _Layer(Recurrence):
    """One of the layers, for one call: it adds to the launch what makes it one of a stack.

    dropout : arguments of `dropping.drop`, for what comes out of it
    feed : (weights, rows) by which it is fed, or None
    dxg : the rows by which it feeds the layer below, once it has been run back
    """

    def __init__(self, stack, inputs, dropout, feed):
        super().__init__(stack.cell, inputs, stack.hidden, stack.dtype)
        self._stack, self._dropout, self._feed, self.dxg = stack, dropout, feed, None

    def _plans(self, batch, steps, keep):
        return self._stack.plans

    def _inputs_part(self, x, w_ih):
        return None if self._feed else super()._inputs_part(x, w_ih)

    def _run_persistent(self, plan, *run):
        persistent.run_forward(self.cell, plan, *run, stack=self._arguments())

    def _run_persistent_back(self, plan, *run):
        *_, self.dxg, _, _, _ = run
        persistent.run_backward(self.cell, plan, *run, stack=self._arguments())

    def _arguments(self):
        feed = [a.data.ptr for a in self._feed] if self._feed else (0, 0)
        return (*feed, *self._dropout)


class StackedRecurrence:
    """The time loops of `layers` layers, each fed by the one below, by plans for so many."""

    def __init__(self, cell, hidden_size, dtype, plans):
        self.cell, self.hidden, self.dtype, self.plans = cell, hidden_size, dtype, plans
        self.layers = plans[0].layers

    def forward(self, weights, extras, x, states, lengths, y, keep, dropout=0.0, seeds=()):
        """Run a whole batch of sequences through all layers.

        `weights`, `extras` and `states` are lists of what `Recurrence.forward` takes, from the
        lowest layer on; x, lengths, y (T, B, H) and `keep` as there. A share `dropout` of what
        comes out of each layer but the last is set to 0, by that layer's one of `seeds`.
        Returns the final states and, if `keep`, a tape, else None.
        """
        steps, batch, _ = x.shape
        between = range(self.layers - 1)
        outputs = [*(self._rows(steps, batch, lengths is not None) for _ in between), y]
        inputs = [x, *outputs]
        dropouts = [arguments_of(dropout, seed, self.dtype) for seed in seeds]
        dropouts += [arguments_of(0, 0, self.dtype)] * (self.layers - len(dropouts))

        def run(i):
            w_ih = weights[i][0]
            feed = (w_ih, inputs[i]) if i else None
            return _Layer(self, w_ih.shape[1], dropouts[i], feed).forward(
                weights[i], extras[i], inputs[i], states[i], lengths, False, outputs[i], 0, keep
            )

        finals, tapes = zip(*run_together(run, range(self.layers)))
        return finals, (tapes, dropouts) if keep else None

    def backward(self, weights, tape, dy, dstates, grads, dx):
        """Back-propagate through all layers; lists as in `forward`, the rest as in
        `Recurrence.backward`. Returns the gradients by the initial states."""
        tapes, dropouts = tape
        above = []

        def run(i):
            feed = (weights[i + 1][0], above[-1].dxg) if above else None
            layer = _Layer(self, weights[i][0].shape[1], dropouts[i], feed)
            above.append(layer)
            # Of a layer that is fed, dy tells no more than the shape.
            return layer.backward(
                weights[i], tapes[i], dy, 0, dstates[i], grads[i], None if i else dx, False
            )

        return run_together(run, range(self.layers)[::-1])[::-1]

    def _rows(self, steps, batch, ragged):
        """Room for what one layer gives the next (T, B, pitch), rows padded with zeros."""
        pitch = padded(self.hidden, self.dtype)
        allocate = cupy.zeros if ragged or pitch != self.hidden else cupy.empty
        return allocate((steps, batch, pitch), self.dtype)
