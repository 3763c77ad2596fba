"""A layer's double, through which one looks without leaving a trace in the layer."""

from copy import copy

from ..arrays import module_of
from ..layers import Recurrent


def probe_of(layer):
    """A time-major layer with the parameters of `layer` and gradients of its own.

    Raises TypeError if it is no recurrent layer, ValueError if it runs in both directions (its
    states then depend on what comes later), projects its hidden states, or has noise (its
    derivatives are then random).
    """
    if not isinstance(layer, Recurrent):
        raise TypeError(f"layer: expected a recurrent layer, got {type(layer).__name__}")
    if layer.bidirectional:
        raise ValueError("layer: expected one direction, got a bidirectional one")
    noise = {
        name: getattr(layer, name)
        for name in ("dropout", "zoneout", "recurrent_dropout")
        if getattr(layer, name)
    }
    if layer.proj_size:
        raise ValueError(f"layer: expected one without projection, got proj_size={layer.proj_size}")
    if noise:
        raise ValueError(f"layer: expected one without noise, got {noise}")
    zeros_like = module_of(layer.device).zeros_like
    probe = copy(layer)
    probe.grads = {name: zeros_like(gradient) for name, gradient in layer.grads.items()}
    probe.batch_first = False
    return probe


def sequences_of(layer, x):
    """`x` as the layer takes it, checked, as (T, B, I)."""
    return layer._check_sequences(x, "x", layer.input_size)


def parts_of(state):
    """A layer's state as a tuple of arrays: (h,), or (h, c)."""
    return state if isinstance(state, tuple) else (state,)
