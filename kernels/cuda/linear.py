"""Affine maps of rows: y = x Wᵀ + b, and back; the products are cuBLAS's."""

import cupy


def linear_forward(x, weight, bias, y):
    """y (N, O) = x (N, I) @ weight (O, I)ᵀ + bias (O,) or None."""
    cupy.matmul(x, weight.T, out=y)
    if bias is not None:
        y += bias


def add_weight_gradient(x, dy, dweight, dbias):
    """Add dy (N, O)ᵀ @ x (N, I) into dweight (O, I), the sums of dy into dbias (O,) or None."""
    dweight += cupy.matmul(dy.T, x)
    if dbias is not None:
        dbias += dy.sum(0)


def linear_backward(x, weight, dy, dx, dweight, dbias):
    """Write dx (N, I) = dy (N, O) @ weight; add dyᵀ @ x into dweight, the sums of dy into dbias."""
    cupy.matmul(dy, weight, out=dx)
    add_weight_gradient(x, dy, dweight, dbias)
