"""Where the influence of each parameter on the states is kept, for both devices.

The influence (in RTRL's papers also "sensitivity") is d state / d parameter. Its columns are the
parameters, flattened one after the other in the order weight_ih, weight_hh, bias_ih, bias_hh.
Every parameter stands in the row of one gate and unit, and meets one source there: an input, a
hidden state of the step before, or 1. So in every step its immediate effect is a coefficient of
that gate and unit (the cell's local derivative) times that source.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass
class Local:
    """What one step leaves of itself: local derivatives and sources, of each sequence.

    With K = 2 for cells whose gates tell input and recurrent products apart, else 1:

    - coefficients (B, S, K, G, H): d new state / d gate, through the products with the input
      and (last of the K) with the hidden state
    - by_state (B, S, S, H): d new state / d old state of the same unit, not through a product
    - sources (B, R): inputs, old hidden states, (two-phase cells) gated states, and 1
    - gated_by (B, E, H), gated_by_state (B, H): of a two-phase cell, the derivatives of the
      gated state by the E early gates and by the old state
    - transition (S, B, H, H): d new state / d old hidden state, in all
    - through (B, H, H): of a two-phase cell, d new state / d gated state of another unit
    """

    coefficients: object
    by_state: object
    sources: object
    gated_by: object
    gated_by_state: object
    transition: object
    through: object

    @classmethod
    def empty(cls, xp, columns, batch, dtype, dense):
        """Arrays of module `xp`; the (H, H) ones only if `dense`."""
        cell, hidden = columns.cell, columns.hidden
        early = cell.gates - cell.late if cell.late else 0
        square = hidden if dense else 0
        sources = xp.ones((batch, columns.source_count), dtype)
        return cls(
            xp.empty((batch, cell.states, columns.parts, cell.gates, hidden), dtype),
            xp.empty((batch, cell.states, cell.states, hidden), dtype),
            sources,
            xp.empty((batch, early, hidden), dtype),
            xp.empty((batch, hidden if early else 0), dtype),
            xp.empty((cell.states, batch, square, square), dtype),
            xp.empty((batch, square if early else 0, square if early else 0), dtype),
        )


@dataclass(frozen=True)
class Columns:
    """The influence's columns for a cell and its sizes."""

    cell: object
    inputs: int
    hidden: int
    bias: bool

    @property
    def parts(self):
        """K of `Local`."""
        return 2 if self.cell.apart else 1

    @property
    def source_count(self):
        """R of `Local`."""
        return self.inputs + self.hidden * (2 if self.cell.late else 1) + 1

    @cached_property
    def count(self):
        """How many columns: the parameters, but one bias where the two have the same effect."""
        return self.cell.gates * self.hidden * int(self.segments[:, 1].sum())

    @cached_property
    def segments(self):
        """One row a parameter array: (first column, columns a row, part, source, late source).

        `part` is 0 or K - 1; the sources begin at `source`, for late gates at `late source`.
        """
        I, H, rows = self.inputs, self.hidden, self.cell.gates * self.hidden
        one, gated, last = self.source_count - 1, I + H, self.parts - 1
        kinds = [(I, 0, 0, 0), (H, last, I, gated if self.cell.late else I)]
        kinds += [(1, part, one, one) for part in range(self.parts)] if self.bias else []
        first = np.cumsum([0] + [rows * kind[0] for kind in kinds[:-1]])
        return np.array([(at, *kind) for at, kind in zip(first, kinds)], np.int64)

    @property
    def first(self):
        """The first column of each parameter array."""
        first = [int(at) for at in self.segments[:, 0]]
        found = {"weight_ih": first[0], "weight_hh": first[1]}
        return found | {"bias_ih": first[2], "bias_hh": first[-1]} if self.bias else found

    @cached_property
    def tables(self):
        """Of each column its unit, its coefficient among K G H, and its source."""
        rows, early = self.cell.gates * self.hidden, self.cell.gates - self.cell.late
        units, coefficients, sources = [], [], []
        for _, width, part, source, late_source in self.segments:
            row, q = np.divmod(np.arange(rows * width), width)
            units.append(row % self.hidden)
            coefficients.append(part * rows + row)
            sources.append(np.where(row < early * self.hidden, source, late_source) + q)
        return tuple(np.concatenate(t).astype(np.int64) for t in (units, coefficients, sources))
