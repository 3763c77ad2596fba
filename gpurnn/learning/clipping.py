"""Gradient clipping."""

import math

from gpurnn.arrays import device_of, kernels_of
from gpurnn.kernels import maps


def clip_grad_norm(layer, max_norm):
    """Scale all gradients together so that their joint norm is at most `max_norm`.

    `layer`: anything with a dict `grads` of arrays. Returns the norm before clipping, a float.
    As in PyTorch the factor is max_norm / (norm + 1e-6), applied where it is below 1; unlike
    there, gradients whose norm is NaN or infinite are left as they are, for the caller to see.
    ValueError if `max_norm` is negative or NaN. Source: Pascanu, Mikolov & Bengio (2013).
    """
    if not max_norm >= 0:
        raise ValueError(f"max_norm: expected a number from 0 on, got {max_norm!r}")
    grads = list(layer.grads.values())
    kernels = kernels_of(device_of(grads[0]))
    # The sums stay on their device: one wait for all of them, not one for each.
    norm = math.sqrt(float(sum(kernels.sum_of_squares(grad) for grad in grads)))
    if math.isfinite(norm):
        factor = max_norm / (norm + 1e-6)
        if factor < 1:
            for grad in grads:
                kernels.apply_map(maps.scale, (grad,), (factor,))
    return norm
