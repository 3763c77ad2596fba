"""Affine maps of rows: y = x Wᵀ + b, and back."""

import numpy as np

from .compiling import kernel, part
from .gradients import add_outer_product
from .packing import empty_panels, pack_columns, pack_rows
from .product import multiply_panels
from .threads import run_parallel, shares, split
from .views import flattened


@kernel("pack_weight")
def _pack(weight, transposed, bias, panels):
    """Pack Wᵀ (I, O) with the bias ahead if `transposed`, else W (O, I) itself."""
    outputs, inputs = weight.shape
    starts = np.arange(outputs) * inputs
    if transposed:
        pack_columns(flattened(weight), starts, bias, np.arange(bias.size), panels)
    else:
        pack_rows(flattened(weight), starts, inputs, panels)


@part
def multiply_rows(a, first, last, panels, c):
    """Rows first .. last - 1 of C = A @ B, B packed."""
    rows = np.arange(first, last)
    multiply_panels(
        flattened(a), rows * a.shape[1], rows.size, np.intp(1), a.shape[1], panels,
        flattened(c), rows * c.shape[1], c.shape[1], np.bool_(False),
    )  # fmt: skip


_multiply_rows = kernel("multiply_rows")(multiply_rows.py_func)


@kernel("add_weight_gradient")
def _add_weight_gradient(dy, first, last, x, dweight, dbias):
    rows, (outputs, inputs) = np.arange(dy.shape[0]), dweight.shape
    add_outer_product(
        flattened(dy), rows * outputs, first, last, flattened(x), rows * inputs, inputs,
        flattened(dweight), dbias,
    )  # fmt: skip


def packed_weight(weight, transposed, bias=None):
    """Panels of W (O, I), or of Wᵀ with the bias ahead if `transposed`."""
    outputs, inputs = weight.shape
    columns, depth = (outputs, inputs) if transposed else (inputs, outputs)
    panels = empty_panels(columns, depth, weight.dtype)
    _pack(weight, transposed, np.empty(0, weight.dtype) if bias is None else bias, panels)
    return panels


def _spread_rows(a, panels, c):
    bounds = split(len(a), shares(2 * a.size * c.shape[1]))
    run_parallel(_multiply_rows, [(a, first, last, panels, c) for first, last in bounds])


def linear_forward(x, weight, bias, y):
    """y (N, O) = x (N, I) @ weight (O, I)ᵀ + bias (O,) or None."""
    _spread_rows(x, packed_weight(weight, True, bias), y)


def add_weight_gradient(x, dy, dweight, dbias):
    """Add dy (N, O)ᵀ @ x (N, I) into dweight (O, I), the sums of dy into dbias (O,) or None."""
    nothing = np.empty(0, dy.dtype)
    bounds = split(dy.shape[1], shares(2 * dy.size * x.shape[1]))
    run_parallel(
        _add_weight_gradient,
        [(dy, a, b, x, dweight, nothing if dbias is None else dbias) for a, b in bounds],
    )


def linear_backward(x, weight, dy, dx, dweight, dbias):
    """Write dx (N, I) = dy (N, O) @ weight; add dyᵀ @ x into dweight, the sums of dy into dbias."""
    _spread_rows(dy, packed_weight(weight, False), dx)
    add_weight_gradient(x, dy, dweight, dbias)
