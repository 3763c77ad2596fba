"""The persistent schedule: all steps, of one direction or both, in one cooperative launch.

What the arrays hold is told in `persistent_forward` and its like.
"""

from .extras import as_arguments
from .persistent_backward import persistent_backward
from .persistent_block import THREADS
from .persistent_forward import persistent_forward
from .persistent_late_backward import persistent_late_backward
from .persistent_late_forward import persistent_late_forward
from .together import launch


def forward_kernel(cell, tile_rows, dtype):
    """The kernel that runs a cell forward."""
    return (persistent_late_forward if cell.late else persistent_forward)(cell, tile_rows, dtype)


def backward_kernel(cell, tile_rows, dtype):
    """The kernel that runs a cell backward."""
    return (persistent_late_backward if cell.late else persistent_backward)(cell, tile_rows, dtype)


def fits_together(kernel, plan, device):
    """Whether all blocks of a plan run at once on the current device."""
    resident = kernel.resident_blocks(THREADS, plan.shared_bytes)
    return plan.block_count <= resident * device.multiprocessors


def _launch(kernel, plan, counters, shared, own, arrays):
    """Launch the kernel, for the direction whose arguments are `own` or for both."""

    def launch_directions(owns):
        grid = (plan.blocks, plan.groups, len(owns) * plan.heads)
        arguments = (*shared, *owns[0], *owns[-1], *plan.sizes, counters)
        kernel.launch_together(grid, (THREADS, 1, 1), arguments, plan.shared_bytes)

    launch(launch_directions, own, plan.directions, arrays)


def _column(a, column):
    """A pointer to a column of a (T, B, ...)."""
    return a.data.ptr + column * a.itemsize


def _address(a):
    return 0 if a is None else a.data.ptr


def run_forward(
    cell, plan, scratch, w_hh, extras, biases, xg, history, reverse, y, column, saved, gated, kept
):
    """All steps; writes history, `y` and, unless it is None, `saved`.

    `gated` (T or 1, B heads, pitch) and `kept` are a two-phase cell's, else None.
    """
    (steps, batch, width), (slots, _, pitch) = y.shape, history.shape[1:]
    own = (
        int(reverse), *map(_address, (xg, *biases, w_hh)), *as_arguments(extras),
        _address(history), _column(y, column), *map(_address, (saved, gated, kept)),
    )  # fmt: skip
    hidden = w_hh.shape[1]
    sizes = (batch, hidden, plan.heads * hidden, pitch, slots, batch * width, width)
    shared = (steps, scratch.ends, *sizes, int(saved is not None))
    kernel, held = forward_kernel(cell, plan.tile_rows, xg.dtype), (scratch, biases, xg, kept)
    _launch(kernel, plan, scratch.counters, shared, own, (*held, extras, history, saved, gated))


def run_backward(
    cell, plan, scratch, w_hh, extras, history, saved, reverse, dy, column, carry, dxg, dhg,
    dweights, carried,
):  # fmt: skip
    """All steps back; writes dxg, dhg and, unless it is None, dweights, and turns `carry` into
    the gradient by the initial state. `carried` is a two-phase cell's, else None."""
    (steps, batch, width), pitch = dy.shape, history.shape[3]
    own = (
        int(reverse), _address(w_hh), *as_arguments(extras), _column(dy, column),
        *map(_address, (history, saved, carry, dxg, dhg, dweights, carried)),
    )  # fmt: skip
    hidden = w_hh.shape[1]
    sizes = (batch, hidden, plan.heads * hidden, pitch, batch * width, width)
    shared = (steps, scratch.ends, *sizes)
    kernel, held = backward_kernel(cell, plan.tile_rows, dxg.dtype), (scratch, w_hh, carried, carry)
    _launch(kernel, plan, scratch.counters, shared, own, (*held, history, dxg, dhg, dweights))
