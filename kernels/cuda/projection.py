"""Steps whose hidden states are projected before they meet the recurrent weights.

Forward the step of the cell comes first, then the projection of its hidden states; back the other
way round. The history (S, slots, B, H) has the unprojected states; `seen` (slots, B, P) is what
the recurrent weights meet and what comes out, `dseen` (T, B, P) the gradient by it, in all.
"""

from functools import cache

import numpy as np

from . import graphs
from .backward import backward_step, last_backward_step
from .device import INTEGER, INTEGERS, cuda, floats
from .extras import as_arguments
from .forward import forward_step
from .launching import Kernel
from .stepwise import address, rows
from .tiles import BLOCK, COLUMNS, ROWS, gates_product, grid, unit_product


@cache
def project_step(dtype):
    """The kernel that projects one step's hidden states (B, H); an ended sequence's stays."""
    dtype = np.dtype(dtype)
    product = gates_product(1, dtype)

    def project(t, lengths, batch, hidden, outputs, states, w_hr, old, new, y, y_stride):
        b = cuda.blockIdx.y * ROWS + cuda.threadIdx.y
        p = cuda.blockIdx.x * COLUMNS + cuda.threadIdx.x
        present = b < batch
        projected = product(states, b * hidden, w_hr, outputs, hidden, present)[0]
        if not present or p >= outputs:
            return
        at = b * outputs + p
        if t >= lengths[b]:
            new[at] = old[at]
            return
        new[at] = projected
        y[b * y_stride + p] = projected

    f, i = floats(dtype), INTEGER
    types = (i, INTEGERS, i, i, i, f, f, f, f, f, i)
    return Kernel(f"project_step {dtype}", project, types)


@cache
def project_back_step(dtype):
    """The kernel that completes the gradient by one step's projection, as `backward_step` does."""
    dtype = np.dtype(dtype)
    product = unit_product(dtype)

    def project_back(
        t, lengths, batch, outputs, later, pitch, depth, w_hh, dy, dy_stride, carry, dseen
    ):
        b = cuda.blockIdx.y * ROWS + cuda.threadIdx.y
        p = cuda.blockIdx.x * COLUMNS + cuda.threadIdx.x
        present = b < batch
        through = product(later, b * pitch, w_hh, 0, outputs, depth, present)
        if not present or p >= outputs:
            return
        at = b * outputs + p
        if t >= lengths[b]:
            carry[at] += through  # of a reverse direction, whose first step is behind
            dseen[at] = type(through)(0)
            return
        dseen[at] = carry[at] + through + dy[b * dy_stride + p]
        carry[at] = type(through)(0)

    f, i = floats(dtype), INTEGER
    types = (i, INTEGERS, i, i, f, i, i, f, f, i, f, f)
    return Kernel(f"project_back_step {dtype}", project_back, types)


def run_forward(
    cell, ends, weights, extras, biases, xg, history, seen, reverse, y, column, saved, nowhere
):
    """All steps; writes history, `seen`, `y` and, unless `saved` is None, what a tape keeps.

    weights: (w_hh (G H, P), w_hr (P, H)); nowhere: room for (B, H).
    """
    arrays, more = (*weights, *biases, xg, history, seen, y, saved, nowhere), as_arguments(extras)
    key = ("projected", cell, xg.shape, xg.dtype, y.shape, seen.shape, ends, reverse, column, *more)
    launch = lambda: _launch_forward(cell, *arrays, more, ends, reverse, column)  # noqa: E731
    graphs.run((*key, *map(address, arrays)), launch)


def _launch_forward(
    cell, w_hh, w_hr, b_ih, b_hh, xg, history, seen, y, saved, nowhere, extras, ends, reverse,
    column,
):  # fmt: skip
    (steps, batch), (outputs, hidden), dtype = y.shape[:2], w_hr.shape, xg.dtype
    slots, plane, keep = history.shape[1], history[0].size, saved is not None
    slot, seen_slot = rows(history[0], slots), rows(seen, slots)
    xg_rows, y_rows, y_stride = rows(xg, steps), rows(y, steps, column), y.shape[2]
    saved_rows, fixed = rows(saved, steps), tuple(map(address, (b_ih, b_hh, w_hh)))
    w_hr, nowhere = address(w_hr), address(nowhere)
    step, project = forward_step(cell, dtype), project_step(dtype)
    for t in reversed(range(steps)) if reverse else range(steps):
        before, after = (t + 1, t) if reverse else (t, t + 1)
        old, new = before % slots, after % slots
        step(
            grid(hidden, batch), BLOCK, t, ends, batch, hidden, xg_rows[t], *fixed, *extras,
            seen_slot[old], outputs, slot[old], slot[new], plane, nowhere, hidden, saved_rows[t],
            int(keep),
        )  # fmt: skip
        project(
            grid(outputs, batch), BLOCK, t, ends, batch, hidden, outputs, slot[new], w_hr,
            seen_slot[old], seen_slot[new], y_rows[t], y_stride,
        )  # fmt: skip


def run_backward(
    cell, ends, weights, extras, history, saved, reverse, dy, column, carry, dprojection, dxg,
    dweights, dseen, nothing,
):  # fmt: skip
    """All steps back; writes dxg, dweights and dseen, renews the gradients by the states in place.

    These are dprojection (B, P) and carry (S, 1, B, H), the first of which is 0 and stays so;
    nothing: H zeros.
    """
    arrays = (*weights, history, saved, dy, carry, dprojection, dxg, dweights, dseen, nothing)
    more = as_arguments(extras)
    key = ("projected back", cell, dxg.shape, dxg.dtype, dy.shape, dseen.shape, ends, reverse)
    launch = lambda: _launch_backward(cell, *arrays, more, ends, reverse, column)  # noqa: E731
    graphs.run((*key, column, *more, *map(address, arrays)), launch)


def _launch_backward(
    cell, w_hh, w_hr, history, saved, dy, carry, dprojection, dxg, dweights, dseen, nothing, extras,
    ends, reverse, column,
):  # fmt: skip
    (steps, batch), (outputs, hidden), dtype = dxg.shape[:2], w_hr.shape, dxg.dtype
    plane, carry_plane, depth = history[0].size, batch * hidden, cell.gates * hidden
    slot, saved_rows = rows(history[0], steps + 1), rows(saved, steps)
    dxg_rows, dweights_rows, dseen_rows = (rows(a, steps) for a in (dxg, dweights, dseen))
    dy_rows, dy_stride = rows(dy, steps, column), dy.shape[2]
    w_hh, w_hr, carry, dprojection = map(address, (w_hh, w_hr, carry, dprojection))
    nothing, later = address(nothing), None
    step, project_back = backward_step(cell, dtype), project_back_step(dtype)
    for t in range(steps) if reverse else reversed(range(steps)):
        before, after = (t + 1, t) if reverse else (t, t + 1)
        product = (dxg_rows[t], depth, 0) if later is None else (dxg_rows[later], depth, depth)
        project_back(
            grid(outputs, batch), BLOCK, t, ends, batch, outputs, *product, w_hh, dy_rows[t],
            dy_stride, dprojection, dseen_rows[t],
        )  # fmt: skip
        step(
            grid(hidden, batch), BLOCK, t, ends, batch, hidden, dseen_rows[t], outputs, outputs,
            w_hr, *extras, nothing, 0, slot[before], slot[after], plane, saved_rows[t], carry,
            carry_plane, dxg_rows[t], dxg_rows[t], dweights_rows[t],
        )  # fmt: skip
        later = t
    last = last_backward_step(dtype)
    last(
        grid(outputs, batch), BLOCK, batch, outputs, dxg_rows[later], depth, depth, w_hh,
        dprojection,
    )  # fmt: skip
