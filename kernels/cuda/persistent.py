"""The persistent schedule: all steps, of one direction or both or of several layers, in one
cooperative launch.

What the arrays hold is told in `persistent_forward` and its like. Layers of one launch have a
`stack` besides: see `persistent_phase.owns_of`.
"""

from itertools import chain

from .extras import as_arguments
from .persistent_backward import persistent_backward
from .persistent_block import THREADS
from .persistent_forward import persistent_forward
from .persistent_late_backward import persistent_late_backward
from .persistent_late_forward import persistent_late_forward
from .together import launch


def forward_kernel(cell, tile_rows, dtype, layers=1):
    """The kernel that runs a cell forward, or so many layers of a one-phase cell."""
    if cell.late:
        return persistent_late_forward(cell, tile_rows, dtype)
    return persistent_forward(cell, tile_rows, dtype, layers)


def backward_kernel(cell, tile_rows, dtype, layers=1):
    """The kernel that runs a cell backward, or so many layers of a one-phase cell."""
    if cell.late:
        return persistent_late_backward(cell, tile_rows, dtype)
    return persistent_backward(cell, tile_rows, dtype, layers)


def fits_together(kernel, plan, device):
    """Whether all blocks of a plan run at once on the current device."""
    resident = kernel.resident_blocks(THREADS, plan.shared_bytes)
    return plan.block_count <= resident * device.multiprocessors


def _launch(kernel, plan, counters, shared, own, arrays):
    """Launch the kernel, for the direction whose arguments are `own`, or when all have come."""

    def launch_parts(owns):
        grid = (plan.blocks, plan.groups, len(owns) * plan.heads)
        if len(owns) == 1:  # the kernel takes those of two directions
            owns *= 2
        arguments = (*shared, *chain.from_iterable(owns), *plan.sizes, counters)
        kernel.launch_together(grid, (THREADS, 1, 1), arguments, plan.shared_bytes)

    launch(launch_parts, own, plan.directions * plan.layers, arrays)


def _column(a, column):
    """A pointer to a column of a (T, B, ...)."""
    return a.data.ptr + column * a.itemsize


def _address(a):
    return 0 if a is None else a.data.ptr


def run_forward(
    cell, plan, scratch, w_hh, extras, biases, xg, history, reverse, y, column, saved, gated, kept,
    stack=(),
):  # fmt: skip
    """All steps; writes history, `y` and, unless it is None, `saved`.

    `gated` (T or 1, B heads, pitch) and `kept` are a two-phase cell's, else None.
    """
    (steps, batch, width), (slots, _, pitch) = y.shape, history.shape[1:]
    own = (
        int(reverse), *map(_address, (xg, *biases, w_hh)), *as_arguments(extras),
        _address(history), _column(y, column), *map(_address, (saved, gated, kept)), *stack,
    )  # fmt: skip
    hidden = w_hh.shape[1]
    sizes = (batch, hidden, plan.heads * hidden, pitch, slots, batch * width, width)
    shared = (steps, scratch.ends, *sizes, int(saved is not None))
    kernel = forward_kernel(cell, plan.tile_rows, y.dtype, plan.layers)
    held = (scratch, biases, xg, kept, extras, history, saved, gated)
    _launch(kernel, plan, scratch.counters, shared, own, held)


def run_backward(
    cell, plan, scratch, w_hh, extras, history, saved, reverse, dy, column, carry, dxg, dhg,
    dweights, carried, stack=(),
):  # fmt: skip
    """All steps back; writes dxg, dhg and, unless it is None, dweights, and turns `carry` into
    the gradient by the initial state. `carried` is a two-phase cell's, else None."""
    (steps, batch, width), pitch = dy.shape, history.shape[3]
    own = (
        int(reverse), _address(w_hh), *as_arguments(extras), _column(dy, column),
        *map(_address, (history, saved, carry, dxg, dhg, dweights, carried)), *stack,
    )  # fmt: skip
    hidden = w_hh.shape[1]
    sizes = (batch, hidden, plan.heads * hidden, pitch, batch * width, width)
    shared = (steps, scratch.ends, *sizes)
    kernel = backward_kernel(cell, plan.tile_rows, dxg.dtype, plan.layers)
    held = (scratch, w_hh, carried, carry, history, dxg, dhg, dweights)
    _launch(kernel, plan, scratch.counters, shared, own, held)
