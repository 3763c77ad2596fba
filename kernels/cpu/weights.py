"""A recurrent layer's weights in the orders in which the kernels want them."""

import numpy as np

from .compiling import kernel
from .frozen import FrozenWeights, packed
from .packing import empty_panels, pack_columns, pack_rows, panel_width
from .simd import lanes_of
from .threads import run_parallel, shares, split

_OPERATIONS = 40  # of products, that take as long as to pack a number

_pack_columns = kernel("pack_columns")(pack_columns.py_func)
_pack_rows = kernel("pack_rows")(pack_rows.py_func)


def _by_vectors(rows, lanes):
    """Rows (G, H') in the order of the products forward: a vector of units, its gates in turn."""
    return rows.reshape(len(rows), rows.shape[1] // lanes, lanes).swapaxes(0, 1).reshape(-1)


def _shared_panels(panels):
    """Bounds of the panels that each thread packs."""
    return split(len(panels), shares(_OPERATIONS * panels.size))


class _Rows:
    """Rows of a weight matrix in the order of packed columns; -1 stands for zeros."""

    def __init__(self, numbers):
        self.numbers, self.size, self._starts = numbers, numbers.size, {}

    def starts(self, width):
        """Where each begins in a matrix of rows of so many numbers."""
        starts = self._starts.get(width)
        if starts is None:
            starts = np.where(self.numbers < 0, -1, self.numbers * width)
            self._starts[width] = starts
        return starts


class WeightOrder:
    """Which rows of the weights make which columns of the products, for one cell and size.

    `weights` are tuples (w_ih (G H, I), w_hh (G H, H), b_ih (G H,) or None, b_hh).
    """

    def __init__(self, cell, hidden_size, dtype):
        self.dtype, self.panel_width = np.dtype(dtype), panel_width(dtype)
        self.hidden = hidden_size
        lanes = lanes_of(dtype)
        self.padded = -(-hidden_size // lanes) * lanes
        # Numbers of a step's products forward, all gates': whole panels.
        self.pitch = -(-cell.gates * self.padded // self.panel_width) * self.panel_width
        early = cell.gates - cell.late
        units = np.arange(self.padded)
        of_gates = np.arange(cell.gates)[:, None] * hidden_size
        rows = np.where(units < hidden_size, of_gates + units, -1)
        # By column of the gates' gradients: g H' + j for unit j of gate g.
        self._all, self._early, self._late = (
            _Rows(some.reshape(-1)) for some in (rows, rows[:early], rows[early:])
        )
        # By column of the products forward.
        self._all_forward, self._early_forward, self._late_forward = (
            _Rows(_by_vectors(some, lanes)) for some in (rows, rows[:early], rows[early:])
        )
        self.nothing, self._no_rows = np.empty(0, dtype), np.empty(0, np.intp)
        self.nothing_to_pack = self.nothing, self._no_rows, self.nothing, self._no_rows
        self.no_panels = np.empty((0, 0, 0), dtype)
        self.no_bias = np.zeros(cell.gates * hidden_size, dtype)

    def _to_pack(self, w, rows, bias):
        bias, numbers = (self.nothing, self._no_rows) if bias is None else (bias, rows.numbers)
        return w.reshape(-1), rows.starts(w.shape[1]), bias, numbers

    def _columns(self, w, rows, bias):
        panels, width = empty_panels(rows.size, w.shape[1], self.dtype), self.panel_width
        flat, starts, bias, numbers = self._to_pack(w, rows, bias)
        calls = []
        for first, last in _shared_panels(panels):
            some = slice(first * width, last * width)
            calls.append((flat, starts[some], bias, numbers[some], panels[first:last]))
        run_parallel(_pack_columns, calls)
        return panels

    def _rows(self, w, rows):
        panels, flat = empty_panels(w.shape[1], rows.size, self.dtype), w.reshape(-1)
        starts, calls = rows.starts(w.shape[1]), []
        for first, last in _shared_panels(panels):
            before = first * self.panel_width
            calls.append((flat[before:], starts, w.shape[1] - before, panels[first:last]))
        run_parallel(_pack_rows, calls)
        return panels

    def input_columns(self, weights):
        """What `pack_columns` needs to make all of `input_panels`, but these themselves."""
        return self._to_pack(weights[0], self._all_forward, weights[2])

    def input_panels(self, weights):
        """Packed for the inputs' products forward, biases included."""
        return packed(
            weights, "inputs", lambda: self._columns(weights[0], self._all_forward, weights[2])
        )

    def hidden_panels(self, weights):
        """Packed for the hidden states' products forward: of the early gates, of the late ones."""
        w_hh, b_hh = weights[1], weights[3]
        early, late = self._early_forward, self._late_forward
        return packed(
            weights,
            "hidden",
            lambda: (self._columns(w_hh, early, b_hh), self._columns(w_hh, late, b_hh)),
        )

    def frozen_panels(self, weights, least_bytes=0):
        """Those of inputs, early and late gates if the weights are frozen, else empty ones.

        Those of gates only if recurrent weights have so many bytes.
        """
        none = self.no_panels
        if not isinstance(weights, FrozenWeights):
            return none, none, none
        hidden = self.hidden_panels(weights) if weights[1].nbytes >= least_bytes else (none, none)
        return self.input_panels(weights), *hidden

    def input_rows(self, w_ih):
        """What `pack_rows` needs to make all of `input_panels_back`: the numbers, rows' starts."""
        return w_ih.reshape(-1), self._all.starts(w_ih.shape[1])

    def input_panels_back(self, w_ih):
        """Packed for the way back to the inputs."""
        return self._rows(w_ih, self._all)

    def hidden_panels_back(self, w_hh):
        """Packed for the way back to the hidden states: of the early gates, of the late ones."""
        return self._rows(w_hh, self._early), self._rows(w_hh, self._late)
