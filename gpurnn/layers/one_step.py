"""What takes single steps of a stack's layers, with less ado than a sequence."""

from ..arrays import module_of


def new_steppers(layer, state, batch):
    """Of each layer (its state (S, B, H), its stepper), from the caller's state or None."""
    given = layer._check_state(state, "state", batch).swapaxes(0, 1)
    states = [module_of(layer.device).array(own, order="C") for own in given]
    return [(own, layer._recurrence(number).stepper(own)) for number, own in enumerate(states)]


def take_one_step(layer, x, state):
    """Of x (1, B, I), checked, and the caller's state: the output (1, B, H), and each layer's new
    state (S, B, H)."""
    xp, batch, finals = module_of(layer.device), x.shape[1], []
    steppers = _idle_steppers(layer, state, batch) or new_steppers(layer, state, batch)
    for number, (own, step) in enumerate(steppers):
        y = xp.empty((1, batch, layer._outputs), layer.dtype)
        step(layer._weights(number, 0), layer._extras(number, 0), x, y)
        finals.append(own.copy())
        x = y
    # Not on CUDA, where the step may not have been taken yet: the next may be on another stream.
    if layer.device == "cpu":
        layer._idle_steppers.append(steppers)
    return x, finals


def _idle_steppers(layer, state, batch):
    """As `new_steppers`, with the memory of an earlier call of as many sequences, or None."""
    try:
        steppers = layer._idle_steppers.pop()
    except IndexError:
        return None
    given = None if state is None else layer._check_state(state, "state", batch)
    for number, (own, _) in enumerate(steppers):
        if own.shape[1] != batch:
            return None
        own[...] = 0 if given is None else given[:, number]
    return steppers
