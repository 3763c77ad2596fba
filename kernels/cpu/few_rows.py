"""What follows the time loop backward where it was so short that packing would cost the most."""

import numpy as np

from .compiling import inlined, kernel, part
from .dots import add_scaled_rows
from .product import are_zeros
from .views import flattened

# Measured: with more of either, packing pays.
MOST_ROWS = 16
MOST_PRODUCTS = 6_000_000


def are_few(rows, weights):
    """Whether so many steps of sequences, in all, are better done row by row."""
    return rows <= MOST_ROWS and rows * weights <= MOST_PRODUCTS


@inlined
def _add_outer_products(d, first, units, a, start, width, total, row):
    """total[row + i, :] += d[first + i] * a[start :], i < units; rows are `width` numbers."""
    if are_zeros(a, start, width):  # as states before the first step of most sequences are
        return
    one, none = np.intp(1), np.intp(0)
    for i in range(units):
        at = (row + i) * width
        add_scaled_rows(d, first + i, one, a, start, none, total, at, width)


@part
def back_through_few_products(
    dxg, dhg, valid, x, h, gated, early, w_ih, dw_ih, dw_hh, db_ih, db_hh, dx, resume
):
    """All that `back_through_products` does, row after row."""
    gates, padded = dxg.shape[2:]
    units, inputs, seen_width = dw_ih.shape[0] // gates, dw_ih.shape[1], dw_hh.shape[1]
    dx_flat, dh_flat = flattened(dxg), flattened(dhg)
    x_flat, h_flat, gated_flat = flattened(x), flattened(h), flattened(gated)
    w_flat, dinputs = flattened(w_ih), flattened(dx)
    dw_ih_flat, dw_hh_flat = flattened(dw_ih), flattened(dw_hh)
    for row in valid:
        if not resume:
            dinputs[row * inputs : (row + 1) * inputs] = 0
        for gate in range(gates):
            first, unit = (row * gates + gate) * padded, gate * units
            add_scaled_rows(
                dx_flat, first, units, w_flat, unit * inputs, inputs, dinputs, row * inputs, inputs
            )
            _add_outer_products(
                dx_flat, first, units, x_flat, row * inputs, inputs, dw_ih_flat, unit
            )
            seen = h_flat if gate < early else gated_flat
            _add_outer_products(
                dh_flat, first, units, seen, row * padded, seen_width, dw_hh_flat, unit
            )
            if db_ih.size:
                for i in range(units):
                    db_ih[unit + i] += dx_flat[first + i]
                    db_hh[unit + i] += dh_flat[first + i]


backward_of_few = kernel("backward_of_few")(back_through_few_products.py_func)
