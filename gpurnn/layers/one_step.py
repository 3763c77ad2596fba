"""What takes single steps of a stack's layers, with less ado than a sequence."""

import numpy as np

from ..arrays import module_of


def new_steppers(layer, state, batch):
    """Of each layer (its state (S, B, H), its stepper), from the caller's state or None."""
    given = layer._check_state(state, "state", batch).swapaxes(0, 1)
    states = [module_of(layer.device).array(own, order="C") for own in given]
    return [(own, layer._recurrence(number).stepper(own)) for number, own in enumerate(states)]


def idle_steppers(layer, x):
    """As `new_steppers`, those of an earlier call with an x (1, B, I) like this one, which needs no
    other check then; or None."""
    if layer.device != "cpu" or type(x) is not np.ndarray or x.shape[:1] != (1,):
        return None
    try:
        shape, steppers = layer._idle_steppers.pop()
    except IndexError:
        return None
    fits = shape == x.shape and x.dtype == layer.dtype and x.flags.c_contiguous
    return steppers if fits else None


def take_one_step(layer, x, state, steppers):
    """Of x (1, B, I), checked, and the caller's state: the output (1, B, H), and each layer's new
    state (S, B, H). `steppers` are idle ones, or None."""
    x_shape, batch, finals = x.shape, x.shape[1], []
    if steppers is None:
        steppers = new_steppers(layer, state, batch)
    elif state is None:
        for own, _ in steppers:
            own.fill(0)
    else:
        given = layer._check_state(state, "state", batch)
        for number, (own, _) in enumerate(steppers):
            own[...] = given[:, number]
    empty, shape = module_of(layer.device).empty, (1, batch, layer._outputs)
    has_extras = layer.cell.extras
    for number, (own, step) in enumerate(steppers):
        y = empty(shape, layer.dtype)
        extras = layer._extras(number, 0) if has_extras else ()
        step(layer._weights(number, 0), extras, x, y)
        finals.append(own.copy())
        x = y
    # Not on CUDA, where the step may not have been taken yet: the next may be on another stream.
    if layer.device == "cpu":
        layer._idle_steppers.append((x_shape, steppers))
    return x, finals
