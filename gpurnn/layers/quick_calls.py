"""Calls of a stack whose layers take a step, or those of a few sequences, with little ado.

Each layer is stepped on by a function with memory of its own, which the next call of the same shape
uses again.
"""

import numpy as np

from ..arrays import module_of


def new_steppers(layer, state, batch, steps=1):
    """Of each layer (its state (S, B, H), its stepper), from the caller's state or None."""
    given = layer._check_state(state, "state", batch).swapaxes(0, 1)
    states = [module_of(layer.device).array(own, order="C") for own in given]
    return [
        (own, layer._recurrence(number).stepper(own, steps)) for number, own in enumerate(states)
    ]


def is_quick(layer, shape):
    """Whether an x (T, B, I) of this shape, of full length, is for a `QuickCall`."""
    return not layer.bidirectional and layer.kernels.steps_together(*shape[:2])


def idle_call(layer, x):
    """A `QuickCall` that an earlier call has used, if it fits x, which needs no other check then;
    or None."""
    if layer.device != "cpu" or type(x) is not np.ndarray:
        return None
    try:
        call = layer._idle_calls.pop()
    except IndexError:
        return None
    if x.shape == call.shape and x.dtype == call.dtype and x.flags.c_contiguous:
        return call
    layer._idle_calls.append(call)
    return None


class QuickCall:
    """What calls of a stack with an x (T, B, I) of one shape need, for one of them at a time."""

    def __init__(self, layer, shape):
        steps, batch, _ = shape
        self.shape, self.dtype = shape, layer.dtype
        self._y_shape = steps, batch, layer._outputs
        self._steppers = tuple(enumerate(new_steppers(layer, None, batch, steps)))
        self._has_extras, self._empty = layer.cell.extras > 0, layer.kernels.empty

    def run(self, layer, x, state):
        """The output (T, B, H) of x, checked, and the caller's state or None; and each layer's new
        state (S, B, H)."""
        if state is not None:
            given = layer._check_state(state, "state", self.shape[1])
        finals, extras = [], ()
        for number, (own, step) in self._steppers:
            if state is None:
                own.fill(0)
            else:
                own[...] = given[:, number]
            if self._has_extras:
                extras = layer._extras(number, 0)
            y = self._empty(self._y_shape, self.dtype)
            step(layer._weights(number, 0), extras, x, y)
            finals.append(own.copy())
            x = y
        # Not on CUDA, where the step may not be taken yet, and the next be on another stream.
        if layer.device == "cpu":
            self._rest(layer._idle_calls)
        return x, finals

    def _rest(self, idle):
        """Till the next call; all that are idle are of one shape."""
        if idle and idle[-1].shape != self.shape:
            idle.clear()
        idle.append(self)
