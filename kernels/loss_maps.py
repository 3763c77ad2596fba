"""The arithmetic of losses that are sums over numbers, once for both devices (see `maps`)."""

from .mathematics import absolute, positive_part, sigmoid, softplus


def squared_error(values, scalars):
    """(loss, gradient by the prediction) of (prediction - target)²."""
    _, _, prediction, target = values
    (twice_scale,) = scalars
    difference = prediction - target
    return difference * difference, twice_scale * difference


def sigmoid_cross_entropy(values, scalars):
    """(loss, gradient by the logit) of -t log p - (1 - t) log(1 - p), p = sigmoid(logit).

    In a form that neither overflows nor cancels.
    """
    _, _, logit, target = values
    (scale,) = scalars
    loss = softplus(-absolute(logit)) + (positive_part(logit) - logit * target)
    return loss, scale * (sigmoid(logit) - target)
