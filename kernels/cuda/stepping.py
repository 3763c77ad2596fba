"""One step after the other, for layers that are fed so: memory and launches made ready once."""

import cupy

from .device import working
from .extras import as_arguments
from .forward import forward_step, gate_step, late_step
from .norms import norms_of
from .preparing import Scratch, prepare
from .products import multiply_rows
from .tiles import BLOCK, grid


class Stepper:
    """Called with (weights, extras, x (1, B, I), y (1, B, H)), it steps on from `state` (S, B, H).

    It writes y, and the new state in place of the old. Its memory is its own: one call at a
    time, on streams that wait for each other.
    """

    def __init__(self, cell, state, heads):
        _, batch, hidden = state.shape
        dtype, states_dtype = state.dtype, working(state.dtype)
        self._cell, self._state = cell, state
        self._old = state if dtype == states_dtype else cupy.empty(state.shape, states_dtype)
        self._new = cupy.empty_like(self._old)
        self._xg = cupy.empty((batch, cell.gates * hidden), dtype)
        self._no_bias = cupy.zeros(cell.gates * hidden, dtype)
        self._gated = cupy.empty((batch, hidden), dtype)
        self._kept = cupy.empty((batch, cell.kept, hidden), states_dtype)
        self._scratch = Scratch(0, batch)
        prepare(dtype, state, self._old[:, None], 0, self._scratch, steps=1)
        self._early_bytes = (cell.gates - cell.late) * hidden * state.itemsize
        self._step = (late_step if cell.late else forward_step)(cell, dtype)
        self._gate = gate_step(cell, dtype) if cell.late else None
        self._of_head, self._size = hidden // heads, state[0].size
        self._grid = grid(self._of_head, batch, heads)

    def __call__(self, weights, extras, x, y):
        (w_ih, w_hh, *biases), gains = weights[:4], weights[4:]
        multiply_rows(x, w_ih, self._xg)
        batch, hidden, width = self._state.shape[1], self._of_head, y.shape[2]
        old, new, xg = self._old.data.ptr, self._new.data.ptr, self._xg.data.ptr
        input_norm, hidden_norm = norms_of(self._cell, gains, 0, batch)
        norms = ()
        if hidden_norm:
            input_norm.normalise(self._xg)
            norms = hidden_norm.multiply(self._old.dtype, 0, old, w_hh.data.ptr)
        b_ih, b_hh = (self._no_bias.data.ptr if b is None else b.data.ptr for b in biases)
        fixed, more = (b_ih, b_hh, w_hh.data.ptr), as_arguments(extras)
        seen = (old, hidden)
        if self._cell.late:
            seen = (self._gated.data.ptr, self._kept.data.ptr)
            self._gate(
                self._grid, BLOCK, 0, batch, hidden, xg, *fixed, *norms, *more, old, self._size,
                *seen,
            )  # fmt: skip
            early = self._early_bytes
            fixed = (b_ih + early, b_hh + early, fixed[2] + early * hidden)
            if hidden_norm:
                norms = hidden_norm.multiply(self._gated.dtype, 0, seen[0], fixed[2], phase=1)
        self._step(
            self._grid, BLOCK, 0, self._scratch.ends, batch, hidden, xg, *fixed, *norms, *more,
            *seen, old, new, self._size, y.data.ptr, width, new, 0,
        )  # fmt: skip
        self._old.data.copy_from_device_async(self._new.data, self._new.nbytes)
        if self._old is not self._state:
            self._state[...] = self._new
