"""The functions between a network's layers, once for both devices, as maps (see `maps`).

Gradients are given by the function's value, which is what a network keeps. The softmax is no
map of single numbers: each device has its own.
"""

from .mathematics import positive_part, select, sigmoid, sigmoid_slope, tanh, tanh_slope, zero


def apply_identity(values, scalars):
    """x."""
    return values


def apply_tanh(values, scalars):
    """tanh x."""
    return (tanh(values[0]),)


def apply_sigmoid(values, scalars):
    """1 / (1 + e^-x)."""
    return (sigmoid(values[0]),)


def apply_relu(values, scalars):
    """max(x, 0)."""
    return (positive_part(values[0]),)


def identity_gradient(values, scalars):
    """From (gradient by y, y) the gradient by x."""
    return (values[0],)


def tanh_gradient(values, scalars):
    """As `identity_gradient`."""
    return (values[0] * tanh_slope(values[1]),)


def sigmoid_gradient(values, scalars):
    """As `identity_gradient`."""
    return (values[0] * sigmoid_slope(values[1]),)


def relu_gradient(values, scalars):
    """As `identity_gradient`."""
    nothing = zero(values[0])
    return (select(values[1] > nothing, values[0], nothing),)


MAPS = {
    "identity": (apply_identity, identity_gradient),
    "relu": (apply_relu, relu_gradient),
    "sigmoid": (apply_sigmoid, sigmoid_gradient),
    "tanh": (apply_tanh, tanh_gradient),
}
"""Name -> (function, gradient)."""
