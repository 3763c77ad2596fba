"""Activations by name, as the networks with an output layer take them."""

from ..arrays import device_of, module_of


def check_activation(kind, name, kinds):
    """`kind`; ValueError, naming the argument, unless it is one of `kinds`."""
    if kind not in kinds:
        raise ValueError(f"{name}: expected one of {', '.join(kinds)}, got {kind!r}")
    return kind


def activated(layer, kind, a):
    """The activation of a (..., N), along its last axis, as a new array."""
    y = a.copy()
    layer.kernels.activate(kind, y.reshape(-1, y.shape[-1]))
    return y


def activation_gradient(layer, kind, y, dy):
    """The gradient by the argument, from the value `y` and the gradient by it, as a new array."""
    d = dy.copy()
    width = d.shape[-1]
    layer.kernels.activate_backward(kind, y.reshape(-1, width), d.reshape(-1, width))
    return d


def zero_past_ends(a, lengths, batch_first):
    """Set what lies past the sequences' ends to 0, in place; lengths (B,) on the host or None."""
    if lengths is not None:
        xp = module_of(device_of(a))
        steps = a.shape[1 if batch_first else 0]
        past = xp.asarray(lengths)[None, :] <= xp.arange(steps)[:, None]
        a[past.T if batch_first else past] = 0
    return a
