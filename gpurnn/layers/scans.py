"""Light recurrent layers, whose states all steps' gates know nothing of: a scan over time."""

from functools import cached_property

import numpy as np

from ..arrays import kernels_of, module_of
from ..kernels.cells import scans
from .recurrent import Recurrent


class ScanRecurrence:
    """One layer and direction, with the methods of the kernels' `Recurrence`.

    One product gives the gates of all steps, then the scan runs; on the way back the scan comes
    first. `weights` and `grads` are tuples (w_ih (G H, I), None, b_ih (G H,) or None, None).
    """

    def __init__(self, cell, device, hidden_size, dtype):
        self._cell, self._device, self._hidden, self._dtype = cell, device, hidden_size, dtype
        self._kernels, self._width = kernels_of(device), cell.gates * hidden_size

    def _gates(self, rows):
        """(a flat array from each gate's first number on, the distance of sequences)."""
        flat = rows.reshape(-1)
        return tuple(flat[g * self._hidden :] for g in range(self._cell.gates)), self._width

    def forward(self, weights, extras, x, state, lengths, reverse, y, column, keep):
        """As `Recurrence.forward`."""
        xp, (steps, batch, inputs) = module_of(self._device), x.shape
        products = xp.empty((steps * batch, self._width), self._dtype)
        self._kernels.linear_forward(x.reshape(-1, inputs), weights[0], weights[2], products)
        carry = xp.array(state[0], order="C")
        ends = np.full(batch, steps) if lengths is None else lengths
        self._kernels.scan_forward(
            self._cell, *self._gates(products), ends, reverse, carry, y, column
        )
        if not keep:
            return carry[None], None
        states = xp.array(y[:, :, column : column + self._hidden], order="C")  # y is the caller's
        return carry[None], (x, lengths, ends, reverse, state, products, states)

    def stepper(self, state):
        """As `Recurrence.stepper`."""

        def step(weights, extras, x, y):
            state[...] = self.forward(weights, extras, x, state, None, False, y, 0, keep=False)[0]

        return step

    def backward(self, weights, tape, dy, dy_column, dstate, grads, dx, resume):
        """As `Recurrence.backward`."""
        xp = module_of(self._device)
        x, lengths, ends, reverse, state, products, states = tape
        dproducts, carry = xp.empty_like(products), xp.array(dstate[0], order="C")
        gates, pitch = self._gates(products)
        dgates, _ = self._gates(dproducts)
        initial = xp.ascontiguousarray(state[0])
        self._kernels.scan_backward(
            self._cell, gates, dgates, pitch, ends, reverse, initial, carry, states, 0, dy,
            dy_column,
        )  # fmt: skip
        x_rows, dx_rows, valid = x.reshape(-1, x.shape[2]), dx.reshape(-1, x.shape[2]), slice(None)
        if lengths is not None:
            # Past the ends the products' gradients are not written, and x may be anything.
            valid = xp.asarray(np.flatnonzero(np.arange(len(x))[:, None] < lengths))
            x_rows, dproducts = x_rows[valid], dproducts[valid]
        by_input = xp.empty_like(x_rows)
        self._kernels.linear_backward(x_rows, weights[0], dproducts, by_input, grads[0], grads[2])
        if resume:
            dx_rows[valid] += by_input
        else:
            dx_rows[valid] = by_input
        return carry[None]


class ScanRecurrences(dict):
    """The scans of a stack, made when first asked for: by device, input size, and False."""

    def __init__(self, cell, hidden_size, dtype):
        super().__init__()
        self._rest = cell, hidden_size, dtype

    def __missing__(self, key):
        cell, hidden, dtype = self._rest
        return self.setdefault(key, ScanRecurrence(cell, key[0], hidden, dtype))


class ScanStack(Recurrent):
    """What the light recurrent layers share: a stack of any `ScanCell`; see `MinGRU`."""

    takes_halves = False

    def __init__(
        self, cell, input_size, hidden_size, num_layers=1, *, bidirectional=False, bias=True,
        dropout=0.0, batch_first=False, dtype="float32", device="cpu", rng=None,
    ):  # fmt: skip
        super().__init__(
            cell, input_size, hidden_size, num_layers, bidirectional=bidirectional, bias=bias,
            dropout=dropout, batch_first=batch_first, dtype=dtype, device=device, rng=rng,
        )  # fmt: skip

    def _shapes(self, layer):
        shapes = super()._shapes(layer)
        return {kind: shapes[kind] for kind in ("weight_ih", "bias_ih") if kind in shapes}

    @cached_property
    def _recurrences(self):
        return ScanRecurrences(self.cell, self.hidden_size, self.dtype)

    def reduced(self, kind="bfloat16"):
        """Raise TypeError: only weights of recurrent products come in fewer bits."""
        raise TypeError(f"reduced: expected a layer with recurrent weights, got a {self.cell.name}")


class MinGRU(ScanStack):
    """The minimal gated recurrent unit (L. Feng et al., "Were RNNs all we needed?", 2024).

        z_t = sigmoid(W_z x_t + b_z)    v_t = W_v x_t + b_v    h_t = (1 - z_t) h_{t-1} + z_t v_t

    in the paper's plain form, not that of its appendix in logarithms. The gates see the input
    only: they are one product for all steps, and the steps a scan, on CUDA spread over time too
    where there are few sequences.

    Parameters
    ----------
    input_size, hidden_size, num_layers : int
    bidirectional, bias, dropout, batch_first, dtype, device, rng : as of `Recurrent`

    The parameters are `weight_ih_lk` (G H, I) and `bias_ih_lk` (G H,), gates z v, with the suffix
    `_reverse` for the reverse direction. Called, and used in training, as `Recurrent`; its state
    is h (L D, B, H).
    """

    def __init__(self, input_size, hidden_size, num_layers=1, **options):
        super().__init__(scans.MIN_GRU, input_size, hidden_size, num_layers, **options)


class MinLSTM(ScanStack):
    """The minimal LSTM (L. Feng et al., "Were RNNs all we needed?", 2024), gates f i v.

        f_t, i_t = sigmoid(W x_t + b)    v_t = W_v x_t + b_v
        h_t = f_t / (f_t + i_t) h_{t-1} + i_t / (f_t + i_t) v_t

    For the rest see `MinGRU`.
    """

    def __init__(self, input_size, hidden_size, num_layers=1, **options):
        super().__init__(scans.MIN_LSTM, input_size, hidden_size, num_layers, **options)
