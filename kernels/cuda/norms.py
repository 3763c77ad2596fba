"""Layer normalisation around a time loop: arrays, and what is launched besides the loop's kernels.

Launches take addresses, those of the rows (B, ...) of a step where one is named.
"""

import cupy

from .device import working
from .normalisation import PHASES, WARPS, backward_kernel, inputs_kernel, product_kernel
from .reductions import WARP
from .tiles import BLOCK, grid

_BLOCK = (WARP, WARPS, 1)


def _grid(rows):
    return (-(-rows // WARPS), 1, 1)


class Norm:
    """The gain (G H,) of a cell's products with the inputs, and room for what is kept of them."""

    def __init__(self, cell, gain, steps, batch):
        self._cell, self._gain, self._batch = cell, gain, batch
        self._hidden, dtype = gain.size // cell.gates, working(gain.dtype)
        self._normals = cupy.empty((steps, batch, cell.gates, self._hidden), dtype)
        self._scales = cupy.empty((steps, batch, PHASES), dtype)

    def normalise(self, xg):
        """All products (T B, G H) in place, without bias; keep what there is room for."""
        inputs_kernel(xg.dtype)(
            _grid(len(xg)), _BLOCK, *xg.shape, xg.data.ptr, self._gain.data.ptr,
            int(self._normals.size > 0), self._normals.data.ptr, self._scales.data.ptr,
        )  # fmt: skip

    def _gates(self, phase):
        """(number of the first gate, how many) of those normalised together."""
        return 0, self._cell.gates

    def _addresses(self, step, phase):
        """Of the gain, the normals and the scales."""
        width, (first, _) = self._cell.gates * self._hidden, self._gates(phase)
        normal = step * self._batch * width + first * self._hidden
        scale = step * self._batch * PHASES + phase
        return (
            self._gain.data.ptr + first * self._hidden * self._gain.itemsize,
            self._normals.data.ptr + normal * self._normals.itemsize,
            self._scales.data.ptr + scale * self._scales.itemsize,
        )

    def back(self, ends, step, steps, d, out, by_gain, phase=0):
        """From the gradients d by what was normalised to `out`, by the products, and `by_gain`.

        Of so many steps from `step` on; `ends` are the sequences' lengths.
        """
        first, gates = self._gates(phase)
        rows, offset = steps * self._batch, first * self._hidden * self._gain.itemsize
        backward_kernel(self._gain.dtype)(
            _grid(rows), _BLOCK, step, ends, self._batch, rows, gates * self._hidden,
            self._cell.gates * self._hidden, d + offset, *self._addresses(step, phase),
            out + offset, by_gain + offset,
        )  # fmt: skip


class HiddenNorm(Norm):
    """The same of the products with the hidden states, of each phase by itself."""

    def __init__(self, cell, gain, steps, batch):
        super().__init__(cell, gain, steps, batch)
        self._sums = cupy.empty((batch, cell.gates, self._hidden), self._normals.dtype)
        self._steps = steps

    def _gates(self, phase):
        cell = self._cell
        early = cell.gates - cell.late
        return (early, cell.late) if phase else (0, early)

    @property
    def key(self):
        """All that its launches depend on besides what they are called with."""
        return tuple(a.data.ptr for a in (self._gain, self._normals, self._scales, self._sums))

    def multiply(self, seen, step, a, w, phase=0):
        """Launch the product of a (B, H), of dtype `seen`, and weights -> what the cell's kernel
        takes of it. Without room for all steps each takes that of the one before."""
        _, gates = self._gates(phase)
        product_kernel(gates, self._gain.dtype, seen)(
            grid(self._hidden, self._batch), BLOCK, self._batch, self._hidden, a, w,
            self._sums.data.ptr,
        )  # fmt: skip
        return (self._sums.data.ptr, *self._addresses(step % self._steps, phase))


def norms_of(cell, gains, steps, batch):
    """(Norm, HiddenNorm) that keep so many steps, of a normalised cell, else (None, None)."""
    if not cell.normalised:
        return None, None
    by_inputs, by_states = gains
    return Norm(cell, by_inputs, steps, batch), HiddenNorm(cell, by_states, max(1, steps), batch)
