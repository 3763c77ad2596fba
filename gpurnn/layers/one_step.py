"""A call of one step that nobody will go back through: with less ado than a sequence."""

from ..arrays import module_of


def take_one_step(layer, x, state):
    """Of x (1, B, I), checked, and the caller's state: the output (1, B, H), and each layer's new
    state (S, B, H)."""
    xp, batch, finals = module_of(layer.device), x.shape[1], []
    given = None if state is None else layer._check_state(state, "state", batch)
    steppers = _idle(layer, batch, given) or _new(layer, batch, given)
    for number, (own, step) in enumerate(steppers):
        y = xp.empty((1, batch, layer._outputs), layer.dtype)
        step(layer._weights(number, 0), layer._extras(number, 0), x, y)
        finals.append(own.copy())
        x = y
    # Not on CUDA, where the step may not have been taken yet: the next may be on another stream.
    if layer.device == "cpu":
        layer._idle_steppers.append(steppers)
    return x, finals


def _new(layer, batch, given):
    """(state, stepper) of each layer; `given` (S, L, B, H) or None for zeros."""
    if given is None:
        given = layer._check_state(None, "state", batch)
    states = [module_of(layer.device).array(own, order="C") for own in given.swapaxes(0, 1)]
    return [(own, layer._recurrence(number).stepper(own)) for number, own in enumerate(states)]


def _idle(layer, batch, given):
    """As `_new`, with the memory of an earlier call of as many sequences; None if there is none."""
    try:
        steppers = layer._idle_steppers.pop()
    except IndexError:
        return None
    for number, (own, _) in enumerate(steppers):
        if own.shape[1] != batch:
            return None
        own[...] = 0 if given is None else given[:, number]
    return steppers
