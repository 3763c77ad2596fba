"""Activation functions of whole arrays."""

import cupy

from ..activations import MAPS
from .elementwise import apply_map


def activate(kind, a):
    """Apply "softmax" along the rows of a (N, O), or one of `MAPS` to each number, in place."""
    if kind == "softmax":
        a -= a.max(1, keepdims=True)
        cupy.exp(a, out=a)
        a /= a.sum(1, keepdims=True)
    elif kind != "identity":
        apply_map(MAPS[kind][0], (a,), ())


def activate_backward(kind, y, d):
    """Turn gradients d (N, O) by the values y into those by the arguments, in place."""
    if kind == "softmax":
        d -= (d * y).sum(1, keepdims=True)
        d *= y
    elif kind != "identity":
        apply_map(MAPS[kind][1], (d, y), ())
