"""Affine maps of rows: y = x Wᵀ + b, and back; for the products see `products`."""

from .device import working
from .products import multiply


def linear_forward(x, weight, bias, y):
    """y (N, O) = x (N, I) @ weight (O, I)ᵀ + bias (O,) or None."""
    multiply(x, weight.T, y)
    if bias is not None:
        y += bias


def add_weight_gradient(x, dy, dweight, dbias):
    """Add dy (N, O)ᵀ @ x (N, I) into dweight (O, I), the sums of dy into dbias (O,) or None."""
    multiply(dy.T, x, dweight, add=True)
    if dbias is not None:
        sums = dy.sum(0, dtype=working(dy.dtype))
        dbias += sums.astype(dbias.dtype, copy=False)


def linear_backward(x, weight, dy, dx, dweight, dbias):
    """Write dx (N, I) = dy (N, O) @ weight; add dyᵀ @ x into dweight, the sums of dy into dbias."""
    multiply(dy, weight, dx)
    add_weight_gradient(x, dy, dweight, dbias)
