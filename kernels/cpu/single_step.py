"""One step of a few sequences, from the weights as they lie: for streams and for calls of one step.

A kernel's arguments cost it some 0.1 µs each, all of them together as much as a small step. So what
stays the same from step to step is told once, by a `frame` of addresses and sizes, and a call takes
no more arrays than this, the inputs and the outputs. Of large layers each thread has some of the
units, and a frame of its own.
"""

from functools import cache

import numpy as np
from numba import carray, types
from numba.extending import intrinsic
from numba.np.numpy_support import from_dtype

from ..specialise import text_of_cell
from .blocks import VECTORS
from .compiling import inlined, kernel
from .extras import as_triples
from .few_sequences import as_they_lie
from .forward import vectors_apart
from .forward_units import multiply_units, one_phase, two_phase
from .normalisation import INPUTS, normalise
from .norms import of_products
from .sharing import FEW
from .simd import lanes_of
from .threads import run_parallel, shares, split
from .views import flattened


def _pointer_to(dtype):
    """An intrinsic address -> pointer to numbers of a NumPy dtype."""
    to = types.CPointer(from_dtype(np.dtype(dtype)))

    @intrinsic
    def pointer(typingctx, address):
        def codegen(context, builder, signature, arguments):
            return builder.inttoptr(arguments[0], context.get_value_type(to))

        return to(address), codegen

    return pointer


# What a frame holds: the units from `begin` to `end`, sizes, addresses.
(
    _BEGIN, _END, _PITCH, _PITCH_IH, _PITCH_HH, _SCALES, _PANELS, _EARLY, _LATE,
    _W_IH, _W_HH, _SCALE_IH, _SCALE_HH, _B_IH, _B_HH, _WX, _WH, _WQ, _STATE, _HISTORY, _XG, _HG,
    _GATED, _KEPT, _OFFSETS, _OWN,
) = range(26)  # fmt: skip


@cache
def step_of(cell, dtype, packed):
    """One step of all sequences, for kernels: products with inputs, with states, the cell.

    `offsets` (4, B) are which sequences there are; where their rows of inputs begin, of products,
    of states; `own` (B,) is room, a thread's own. For the other arguments see `forward_units`.
    """
    gate_count = cell.gates
    take_step = (two_phase if cell.late else one_phase)(cell, dtype, packed)
    multiply_inputs, normalise_inputs = (
        multiply_units(0, cell.gates, lanes_of(dtype), packed), normalise(cell, dtype, INPUTS),
    )  # fmt: skip

    @inlined
    def run(
        board, begin, end, x, w_ih, w_hh, scale_ih, scale_hh, b_ih, b_hh, wx, wh, wq, extras, norms,
        state, history, xg, hg, pitch, offsets, own, y, column, tape, gated, kept, keep,
    ):  # fmt: skip
        (_, batch, width), (_, _, hidden), padded = x.shape, state.shape, history.shape[3]
        rows, x_offsets, products, seen = offsets[0], offsets[1], offsets[2], offsets[3]
        if end - begin == padded:  # else this must be done before any thread begins
            for s in range(history.shape[0]):
                for r in range(batch):
                    for j in range(hidden):
                        history[s, 0, r, j] = state[s, r, j]
        first = begin * gate_count
        multiply_inputs(
            begin, end, hidden, w_ih, scale_ih, b_ih, wx, width, flattened(x), x_offsets, batch,
            xg[first:], products, False,
        )  # fmt: skip
        normalise_inputs(
            board, 0, 1, 0, xg, products, batch, rows, 0, begin, end, hidden, padded, norms, keep
        )
        take_step(
            board, 0, 1, 1, begin, end, batch, 0, True, 0, 1, rows, xg, first, pitch, w_hh,
            scale_hh, b_hh, wh, wq, hg, products, own, seen, hidden, extras, norms, history,
            flattened(y), column, y.shape[2], tape, gated, kept, keep,
        )  # fmt: skip
        for s in range(history.shape[0]):
            for r in range(batch):
                for j in range(begin, min(end, hidden)):
                    state[s, r, j] = history[s, 1, r, j]

    return run


@cache
def step_kernel(cell, dtype, weights_dtype, packed):
    """The kernel (frame, x (1, B, I), y (1, B, H)) of a cell; if it has extras or is normalised,
    (frame, x, y, extras, norms). See `Stepper` for what a frame holds."""
    lanes, states_count, gate_count, kept_count = (
        lanes_of(dtype), cell.states, cell.gates, cell.kept,
    )  # fmt: skip
    across = VECTORS * lanes
    take_step = step_of(cell, dtype, packed)
    floats, weights, integers = map(_pointer_to, (dtype, weights_dtype, np.intp))

    @inlined
    def run(frame, x, y, extras, norms):
        (_, batch, width), hidden, begin, end = x.shape, y.shape[2], frame[_BEGIN], frame[_END]
        padded, gates = (hidden + lanes - 1) // lanes * lanes, gate_count * hidden
        pitch = frame[_PITCH]
        w_ih = carray(weights(frame[_W_IH]), (gates, frame[_PITCH_IH]))
        w_hh = carray(weights(frame[_W_HH]), (gates, frame[_PITCH_HH]))
        scale_ih = carray(floats(frame[_SCALE_IH]), (frame[_SCALES],))
        scale_hh = carray(floats(frame[_SCALE_HH]), (frame[_SCALES],))
        b_ih = carray(floats(frame[_B_IH]), (gates,))
        b_hh = carray(floats(frame[_B_HH]), (gates,))
        wx = carray(floats(frame[_WX]), (frame[_PANELS], width + 1, across))
        wh = carray(floats(frame[_WH]), (frame[_EARLY], hidden + 1, across))
        wq = carray(floats(frame[_WQ]), (frame[_LATE], hidden + 1, across))
        state = carray(floats(frame[_STATE]), (states_count, batch, hidden))
        history = carray(floats(frame[_HISTORY]), (states_count, 2, batch, padded))
        xg = carray(floats(frame[_XG]), (batch * pitch,))
        hg = carray(floats(frame[_HG]), (batch * pitch,))
        gated = carray(floats(frame[_GATED]), (batch, padded))
        kept = carray(floats(frame[_KEPT]), (batch * kept_count * padded,))
        offsets = carray(integers(frame[_OFFSETS]), (4, batch))
        own = carray(integers(frame[_OWN]), (batch,))
        take_step(
            frame, begin, end, x, w_ih, w_hh, scale_ih, scale_hh, b_ih, b_hh, wx, wh, wq, extras,
            norms, state, history, xg, hg, pitch, offsets, own, y, 0, history, gated, kept, False,
        )  # fmt: skip

    identity = f"single_step {text_of_cell(cell)} {dtype} {weights_dtype} {packed}"
    if takes_more(cell):
        return kernel(identity)(lambda frame, x, y, extras, norms: run(frame, x, y, extras, norms))
    return kernel(identity)(lambda frame, x, y: run(frame, x, y, (), ()))


def takes_more(cell):
    """Whether a step takes more than weights, inputs and states."""
    return bool(cell.extras) or cell.normalised


class Stepper:
    """Called with (weights, extras, x (1, B, I), y (1, B, H)), it steps on from `state` (S, B, H).

    It writes y, and the new state in place of the old. Its memory is its own: one call at a time.
    `order` is the `WeightOrder`, `norms` the cell's `Norms`.
    """

    def __init__(self, inputs, cell, order, state, norms):
        (states, batch, _), padded = state.shape, order.padded
        dtype, products = state.dtype, order.pitch
        self._cell, self._norms, self._order = cell, norms, order
        self._dtype, self._takes_more = dtype, takes_more(cell)
        self._last = None
        sequences = np.arange(batch)
        offsets = np.stack([sequences * n for n in (1, inputs, products, 1)])
        self._room = (
            state, np.zeros((states, 2, batch, padded), dtype), np.empty(batch * products, dtype),
            np.empty(batch * products, dtype), np.empty((batch, padded), dtype),
            np.empty(batch * cell.kept * padded, dtype), offsets.astype(np.intp),
        )  # fmt: skip

    def __call__(self, weights, extras, x, y):
        if weights is not self._last:
            self._take(weights)
        if len(self._frames) > 1:
            self._share(extras, x, y)
        elif self._takes_more:
            self._kernel(self._frames[0], x, y, as_triples(extras), self._norms_taken)
        else:
            self._kernel(self._frames[0], x, y)

    def _share(self, extras, x, y):
        """Take the step in several threads."""
        more = (as_triples(extras), self._norms_taken) if self._takes_more else ()
        state, history = self._room[:2]
        history[:, 0, :, : state.shape[2]] = state
        run_parallel(self._kernel, [(frame, x, y, *more) for frame in self._frames])

    def _take(self, weights):
        """Fill the frames; the weights stay where they are as long as they are the last."""
        if self._takes_more:
            self._norms_taken = self._norms.take(weights, 0)
        weights_of_products = of_products(self._cell, weights)
        arrays = as_they_lie(weights_of_products, self._order.no_bias)
        few = self._room[0].shape[1] <= FEW
        panels = self._order.frozen_panels(weights_of_products if few else ())
        w_ih, w_hh, scale_ih = arrays[:3]
        addresses = [a.ctypes.data for a in (*arrays, *panels, *self._room)]
        sizes = self._order.pitch, w_ih.shape[1], w_hh.shape[1], scale_ih.size, *map(len, panels)
        all_bounds = self._bounds(w_ih, w_hh)
        own = np.empty((len(all_bounds), self._room[0].shape[1]), np.intp)
        self._frames = [
            np.array([*bounds, *sizes, *addresses, of_thread.ctypes.data], np.intp)
            for bounds, of_thread in zip(all_bounds, own)
        ]
        packed = panels[0].size > 0
        self._kernel = step_kernel(self._cell, self._dtype, w_ih.dtype, packed)
        self._used = arrays, panels, own  # whose addresses the frames have
        self._last = weights  # when all is ready for them, lest a call that is broken off tell so

    def _bounds(self, w_ih, w_hh):
        """Bounds of each thread's units. Those of two phases, and of rows that are normalised as a
        whole, would have to wait for each other."""
        _, history = self._room[:2]
        batch, padded = history.shape[2:]
        if self._cell.late or self._cell.normalised:
            return [(0, padded)]
        group, threads = (
            vectors_apart(self._cell) * lanes_of(self._dtype),
            shares(2 * batch * (w_ih.size + w_hh.size)),
        )
        bounds = split(-(-padded // group), threads)
        return [(a * group, min(b * group, padded)) for a, b in bounds]
