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
    batch, idle, finals = x.shape[1], layer._idle_steppers, []
    try:
        room, steppers = idle.pop()
    except IndexError:
        steppers = None
    if steppers is None or room != batch:
        steppers = new_steppers(layer, state, batch)
    elif state is None:
        for own, _ in steppers:
            own.fill(0)
    else:
        given = layer._check_state(state, "state", batch)
        for number, (own, _) in enumerate(steppers):
            own[...] = given[:, number]
    empty, shape, number = module_of(layer.device).empty, (1, batch, layer._outputs), 0
    for own, step in steppers:
        y = empty(shape, layer.dtype)
        step(layer._weights(number, 0), layer._extras(number, 0), x, y)
        finals.append(own.copy())
        x, number = y, number + 1
    # Not on CUDA, where the step may not have been taken yet: the next may be on another stream.
    if layer.device == "cpu":
        idle.append((batch, steppers))
    return x, finals
