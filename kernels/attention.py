"""The arithmetic of additive attention's scores, once for both devices."""

from .mathematics import tanh, tanh_slope


def score_term(query, key, weight):
    """What one hidden unit adds to a score: v tanh(W q + U k), of the projected q and k."""
    return weight * tanh(query + key)


def score_gradient(query, key, weight, dscore):
    """From the gradient by a score those by a unit's sum W q + U k, and by its v."""
    value = tanh(query + key)
    return dscore * weight * tanh_slope(value), dscore * value
