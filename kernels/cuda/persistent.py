"""The persistent schedule: all steps in one cooperative launch.

What the arrays hold is told in `persistent_forward` and `persistent_backward`.
"""

from .extras import as_arguments
from .persistent_backward import persistent_backward
from .persistent_block import THREADS
from .persistent_forward import persistent_forward


def fits_together(kernel, plan, device):
    """Whether all blocks of a plan run at once on the current device."""
    resident = kernel.resident_blocks(THREADS, plan.shared_bytes)
    return plan.blocks * plan.groups <= resident * device.multiprocessors


def _launch(kernel, plan, counters, *arguments):
    sizes = (plan.units, plan.group_rows, plan.rows, plan.chunks, plan.column_tiles, plan.parts)
    kernel.launch_together(
        plan.grid,
        (THREADS, 1, 1),
        (*arguments, *sizes, plan.sums_pitch, counters),
        plan.shared_bytes,
    )


def _column(a, column):
    """A pointer to a column of a (T, B, ...), and the numbers from step to step, row to row."""
    return a.data.ptr + column * a.itemsize, a.shape[1] * a.shape[2], a.shape[2]


def run_forward(
    cell, plan, w_hh, extras, biases, xg, history, ends, counters, reverse, y, column, saved
):
    """All steps; writes history, `y` and, unless it is None, `saved`."""
    keep, steps, (slots, batch, pitch) = saved is not None, len(y), history.shape[1:]
    _launch(
        persistent_forward(cell, plan.tile_rows, xg.dtype), plan, counters,
        steps, int(reverse), ends, batch, w_hh.shape[1], pitch, xg, *biases, w_hh,
        *as_arguments(extras), history, slots, *_column(y, column), saved if keep else 0, int(keep),
    )  # fmt: skip


def run_backward(
    cell, plan, w_hh, extras, history, saved, ends, counters, reverse, dy, column, carry, dxg, dhg,
    dweights,
):  # fmt: skip
    """All steps back; writes dxg, dhg and, unless it is None, dweights, and turns `carry` into
    the gradient by the initial state."""
    (steps, batch), pitch = dxg.shape[:2], history.shape[3]
    _launch(
        persistent_backward(cell, plan.tile_rows, dxg.dtype), plan, counters,
        steps, int(reverse), ends, batch, w_hh.shape[1], pitch, w_hh,
        *as_arguments(extras), *_column(dy, column), history, saved, carry, dxg, dhg,
        0 if dweights is None else dweights,
    )  # fmt: skip
