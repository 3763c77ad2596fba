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
    """Whether an x (T, B, I) of this shape, of full length, is for `quick_call`."""
    return not layer.bidirectional and layer.kernels.steps_together(*shape[:2])


def idle_steppers(layer, x):
    """As `new_steppers`, those of an earlier call with an x (T, B, I) like this one, which needs no
    other check then; or None."""
    if layer.device != "cpu" or type(x) is not np.ndarray:
        return None
    try:
        shape, steppers = layer._idle_steppers.pop()
    except IndexError:
        return None
    if shape != x.shape:
        layer._idle_steppers.append((shape, steppers))
        return None
    return steppers if x.dtype == layer.dtype and x.flags.c_contiguous else None


def _keep(layer, shape, steppers):
    """For the next call; of one shape only."""
    idle = layer._idle_steppers
    if idle and idle[-1][0] != shape:
        idle.clear()
    idle.append((shape, steppers))


def quick_call(layer, x, state, steppers):
    """Of x (T, B, I), checked, and the caller's state: the output (T, B, H), and each layer's new
    state (S, B, H). `steppers` are idle ones, or None."""
    x_shape, (steps, batch, _), finals = x.shape, x.shape, []
    if steppers is None:
        steppers = new_steppers(layer, state, batch, steps)
    elif state is None:
        for own, _ in steppers:
            own.fill(0)
    else:
        given = layer._check_state(state, "state", batch)
        for number, (own, _) in enumerate(steppers):
            own[...] = given[:, number]
    empty, shape = layer.kernels.empty, (steps, batch, layer._outputs)
    has_extras = layer.cell.extras
    for number, (own, step) in enumerate(steppers):
        y = empty(shape, layer.dtype)
        extras = layer._extras(number, 0) if has_extras else ()
        step(layer._weights(number, 0), extras, x, y)
        finals.append(own.copy())
        x = y
    # Not on CUDA, where the step may not have been taken yet: the next may be on another stream.
    if layer.device == "cpu":
        _keep(layer, x_shape, steppers)
    return x, finals
