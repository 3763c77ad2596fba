"""What follows the time loop backward: the gates' gradients of all steps, times what they met."""

import numpy as np

from .blocks import VECTORS
from .compiling import inlined, kernel, part
from .forward import BLOCK_ROWS
from .gradients import (
    COLUMNS,
    DEPTH,
    add_product,
    add_sums,
    empty_columns,
    empty_slice,
    pack_columns_of_slice,
    pack_slice,
)
from .packing import pack_rows
from .product import multiply_panels
from .simd import REGISTER_BYTES
from .views import flattened


@part
def _write_input_gradients(dxg, valid, wx, dx, resume):
    """dx (T, B, I) of the rows (t, b) numbered by `valid`, added to if `resume`."""
    depth, inputs = dxg.shape[2] * dxg.shape[3], dx.shape[2]
    dxg_flat, dx_flat = flattened(dxg), flattened(dx)
    for first in range(0, valid.size, BLOCK_ROWS):
        rows = valid[first : first + BLOCK_ROWS]
        multiply_panels(
            dxg_flat, rows * depth, rows.size, np.intp(1), depth, wx, dx_flat, rows * inputs,
            inputs, resume,
        )  # fmt: skip


@part
def _write_some_input_gradients(dxg, valid, w, starts, first, last, dx, resume):
    """As `_write_input_gradients`, of the inputs first .. last - 1, with weights as they lie.

    They are packed a slice at a time, which stays in the cache for all rows; for w and starts see
    `pack_rows`.
    """
    depth, inputs, width = dxg.shape[2] * dxg.shape[3], dx.shape[2], last - first
    dxg_flat, dx_flat = flattened(dxg), flattened(dx)
    across = VECTORS * (REGISTER_BYTES // dx.itemsize)
    shape = (width + across - 1) // across, min(DEPTH, depth) + 1, across
    panels = np.empty(shape, dx.dtype)
    for k0 in range(0, depth, DEPTH):
        some = starts[k0 : k0 + DEPTH]
        pack_rows(w[first:], some, width, panels)
        multiply_panels(
            dxg_flat, valid * depth + k0, valid.size, np.intp(1), some.size, panels, dx_flat,
            valid * inputs + first, width, resume or k0 > 0,
        )  # fmt: skip


@kernel("add_own_gradients")
def add_own_gradients(dweights, valid, number, total):
    """Add to total (H,) what the rows (t, b) numbered by `valid` have of a cell's own weight."""
    count, padded = dweights.shape[2:]
    hidden, flat, rows = total.size, flattened(dweights), valid * (count * padded)
    packed, packed_offsets = empty_columns(flat)
    for k0 in range(0, valid.size, DEPTH):
        depth = min(DEPTH, valid.size - k0)
        for i in range(0, hidden, COLUMNS):
            some, column = min(COLUMNS, hidden - i), number * padded + i
            pack_columns_of_slice(flat, rows, k0, depth, column, some, packed, packed_offsets)
            add_sums(packed, packed_offsets, some, depth, total, i)


@inlined
def _add_weight_gradients(
    dxg, dhg, apart, valid, first, last, early, x, h, gated, with_inputs, wx, dx, resume, dw_ih,
    dw_hh, db_ih, db_hh,
):  # fmt: skip
    """Add what the units first .. last - 1 of all gates contribute; `early` gates saw h, not gated.

    `valid` numbers the rows (t, b) of dxg (T, B, G, H'), x, h and gated that count. dxg is dhg
    unless `apart`. The biases' gradients may be empty. If `with_inputs` those by the inputs are
    written too, while a slice of the gates' gradients is in the cache.
    """
    gates, padded = dxg.shape[2:]
    hidden, inputs, outputs = dw_hh.shape[0] // gates, dw_ih.shape[1], dw_hh.shape[1]
    dx_flat, dh_flat = flattened(dxg), flattened(dhg)
    x_flat, h_flat, gated_flat = flattened(x), flattened(h), flattened(gated)
    dw_ih_flat, dw_hh_flat = flattened(dw_ih), flattened(dw_hh)
    rows, x_rows, h_rows = valid * (gates * padded), valid * inputs, valid * padded
    x_slice, h_slice = empty_slice(inputs, dx_flat), empty_slice(outputs, dx_flat)
    gated_slice = empty_slice(hidden if early < gates else np.intp(0), dx_flat)
    packed, packed_offsets = empty_columns(dx_flat)
    for k0 in range(0, valid.size, DEPTH):
        depth = min(DEPTH, valid.size - k0)
        if with_inputs:
            _write_input_gradients(dxg, valid[k0 : k0 + depth], wx, dx, resume)
        pack_slice(x_flat, x_rows, k0, depth, inputs, x_slice)
        pack_slice(h_flat, h_rows, k0, depth, outputs, h_slice)
        if early < gates:
            pack_slice(gated_flat, h_rows, k0, depth, hidden, gated_slice)
        for gate in range(gates):
            seen = h_slice if gate < early else gated_slice
            for i in range(first, last, COLUMNS):
                some, column, row = min(COLUMNS, last - i), gate * padded + i, gate * hidden + i
                pack_columns_of_slice(
                    dx_flat, rows, k0, depth, column, some, packed, packed_offsets
                )
                add_product(packed, packed_offsets, some, depth, x_slice, dw_ih_flat, row, inputs)
                if db_ih.size:
                    add_sums(packed, packed_offsets, some, depth, db_ih, row)
                if apart:
                    pack_columns_of_slice(
                        dh_flat, rows, k0, depth, column, some, packed, packed_offsets
                    )
                add_product(packed, packed_offsets, some, depth, seen, dw_hh_flat, row, outputs)
                if db_hh.size:
                    add_sums(packed, packed_offsets, some, depth, db_hh, row)


@kernel("back_through_products")
def back_through_products(
    dxg, dhg, apart, valid, rows, by_rows, units, columns, early, x, h, gated, wx, w, starts, dx,
    resume, dw_ih, dw_hh, db_ih, db_hh,
):  # fmt: skip
    """What one thread does: the inputs' gradients of some of the rows, and weights' gradients.

    `rows`, `units` and `columns` are the first and the one after the last. The weights' gradients
    are what these rows contribute if `by_rows`, else those of the units from all rows. Where wx is
    empty those of some columns of the inputs are written, for all rows, by w and starts.
    """
    own = valid[rows[0] : rows[1]]
    if wx.size == 0:
        _write_some_input_gradients(dxg, valid, w, starts, columns[0], columns[1], dx, resume)
    elif not by_rows:
        _write_input_gradients(dxg, own, wx, dx, resume)
    _add_weight_gradients(
        dxg, dhg, apart, own if by_rows else valid, units[0], units[1], early, x, h, gated, by_rows,
        wx, dx, resume, dw_ih, dw_hh, db_ih, db_hh,
    )  # fmt: skip
