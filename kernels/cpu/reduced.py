"""Weights in fewer bits, for inference with few sequences: it waits for weights, not for sums.

- bfloat16: the upper half of a float32, rounded to nearest; 8 bits of mantissa.
- int8: whole numbers from -127 to 127 times a scale for each row, its largest number's 127th.

Sums, biases and states remain float32: weights become float32 again in registers, unless the
processor multiplies them as they are (see `short_dots`).
"""

from dataclasses import dataclass

import numpy as np

from .compiling import kernel
from .threads import run_parallel, shares, split
from .workspace import aligned_copy

KINDS = ("bfloat16", "int8")
_OPERATIONS = 20  # of products, that take as long as to expand a number
_WHOLE = 32  # numbers of 16 bits in the widest registers: what is pickled suits them all


@dataclass(frozen=True)
class ReducedWeights:
    """As a tuple of weights (w_ih, w_hh, b_ih, b_hh), the former two reduced.

    Rows are padded with zeros to whole registers of any processor. `scale_ih`, `scale_hh` (G H,)
    belong to int8's rows; of bfloat16 they are empty.
    """

    w_ih: np.ndarray
    w_hh: np.ndarray
    scale_ih: np.ndarray
    scale_hh: np.ndarray
    b_ih: np.ndarray | None
    b_hh: np.ndarray | None
    input_size: int
    hidden_size: int

    def expanded(self):
        """The tuple of weights in float32 that these stand for."""
        w_ih, _, *biases = self.expanded_for_inputs()
        return w_ih, _expand(self.w_hh, self.scale_hh, self.hidden_size), *biases

    def expanded_for_inputs(self):
        """As `expanded`, with None for w_hh."""
        return _expand(self.w_ih, self.scale_ih, self.input_size), None, self.b_ih, self.b_hh


@kernel("expand_bfloat16")
def _expand_upper_halves(w, scale, bits):
    rows, columns = bits.shape
    for row in range(rows):
        for k in range(columns):
            bits[row, k] = np.uint32(w[row, k]) << np.uint32(16)


@kernel("expand_int8")
def _expand_whole_numbers(w, scale, numbers):
    rows, columns = numbers.shape
    for row in range(rows):
        for k in range(columns):
            numbers[row, k] = np.float32(w[row, k]) * scale[row]


def _expand(w, scale, width):
    floats = np.empty((len(w), width), np.float32)
    whole = w.dtype == np.int8
    run = _expand_whole_numbers if whole else _expand_upper_halves
    target = floats if whole else floats.view(np.uint32)
    bounds = split(len(w), shares(_OPERATIONS * floats.size))
    run_parallel(run, [(w[a:b], scale[a:b], target[a:b]) for a, b in bounds])
    return floats


def _reduce(w, kind):
    padded = -(-w.shape[1] // _WHOLE) * _WHOLE
    target = np.zeros((len(w), padded), np.int8 if kind == "int8" else np.uint16)
    if kind == "int8":
        largest = np.abs(w).max(axis=1)
        scale = np.where(largest > 0, largest / np.float32(127), np.float32(1))
        target[:, : w.shape[1]] = np.rint(w / scale[:, None])
        return aligned_copy(target), scale.astype(np.float32)
    bits = w.view(np.uint32)
    target[:, : w.shape[1]] = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return aligned_copy(target), np.empty(0, np.float32)


def reduce_weights(weights, kind):
    """Reduce a tuple (w_ih, w_hh, b_ih, b_hh), finite numbers in float32, to one of KINDS."""
    w_ih, w_hh, b_ih, b_hh = weights
    (small_ih, scale_ih), (small_hh, scale_hh) = _reduce(w_ih, kind), _reduce(w_hh, kind)
    b_ih, b_hh = (bias if bias is None else bias.copy() for bias in (b_ih, b_hh))
    return ReducedWeights(
        small_ih, small_hh, scale_ih, scale_hh, b_ih, b_hh, w_ih.shape[1], w_hh.shape[1]
    )
