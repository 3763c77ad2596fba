"""Light recurrent layers, whose states all steps' gates know nothing of: a scan over time."""

from dataclasses import replace
from functools import cached_property

from ..arrays import kernels_of, module_of
from ..kernels.cells import scans
from ..kernels.scan_recurrence import ScanRecurrence
from .recurrent import Recurrent


class ScanRecurrences(dict):
    """The scans of a stack, made when first asked for: by device, input size, and False."""

    def __init__(self, cell_for, hidden_size, window):
        super().__init__()
        self._cell_for, self._rest = cell_for, (hidden_size, window)

    def __missing__(self, key):
        device, inputs, _ = key
        made = ScanRecurrence(
            kernels_of(device), module_of(device), self._cell_for(inputs), *self._rest
        )
        return self.setdefault(key, made)


class ScanStack(Recurrent):
    """What light recurrent layers share: a stack of any `ScanCell` or `LinearCell`; see `MinGRU`.

    Its gates see the inputs of `window` steps, the last and those before.
    """

    takes_halves = stacks_at_once = False

    def __init__(
        self, cell, input_size, hidden_size, num_layers=1, *, window=1, bidirectional=False,
        bias=True, dropout=0.0, batch_first=False, dtype="float32", device="cpu", rng=None,
    ):  # fmt: skip
        self._window = window
        super().__init__(
            replace(cell, states=1 + (window - 1) * cell.gates), input_size, hidden_size,
            num_layers, bidirectional=bidirectional, bias=bias, dropout=dropout,
            batch_first=batch_first, dtype=dtype, device=device, rng=rng,
        )  # fmt: skip

    def _cell_for(self, inputs):
        """The cell of the layers of so many inputs."""
        return self.cell

    def _shapes(self, layer):
        inputs = self._inputs(layer)
        cell = self._cell_for(inputs)
        rows = cell.gates * self.hidden_size
        shapes = {"weight_ih": (rows, self._window * inputs)}
        if self.bias:
            shapes["bias_ih"] = (rows,)
        return shapes | {kind: (self.hidden_size,) for kind in cell.weights}

    @cached_property
    def _recurrences(self):
        return ScanRecurrences(self._cell_for, self.hidden_size, self._window)

    def frozen(self):
        """Raise TypeError: only layers with recurrent weights have such copies."""
        raise TypeError(f"frozen: expected a layer with recurrent weights, got a {self.cell.name}")

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
