"""The influence of all parameters on the states, carried from step to step.

`FullInfluence` carries it whole, as (S, B, H, columns): a batched product of cuBLAS's multiplies
the step's transition, and one kernel adds what does not go through a product. `OwnInfluence`
carries the influence of a parameter on the unit in whose row it stands.
"""

from functools import cache

import cupy
import numpy as np

from .device import INTEGER, INTEGERS, cuda, floats, inlined
from .launching import Kernel
from .online_step import THREADS, grid
from .tuples import gather, scatter


@cache
def full_kernel(states, late, dtype):
    """The kernel that adds the other states' and the immediate influence, a thread a column."""
    dtype = np.dtype(dtype)

    def add_rest(
        batch, hidden, columns, units, coefficient_index, source_index, old, new, by_state,
        coefficients, coefficients_each, sources, sources_each, early_rows, gated_by, through,
    ):  # fmt: skip
        n, b = cuda.grid(1), cuda.blockIdx.y
        if n >= columns:
            return
        unit, c = units[n], coefficient_index[n]
        source, plane = sources[b * sources_each + source_index[n]], batch * hidden * columns
        first = b * hidden * columns + n
        if states > 1:
            for k in range(hidden):
                at = first + k * columns
                for s in range(states):
                    total = new[s * plane + at]
                    for other in range(1, states):
                        factor = by_state[((b * states + s) * states + other) * hidden + k]
                        total += factor * old[other * plane + at]
                    new[s * plane + at] = total
        for s in range(states):
            factor = coefficients[(b * states + s) * coefficients_each + c]
            new[s * plane + first + unit * columns] += factor * source
        if late:
            if c < early_rows:
                source *= gated_by[b * early_rows + c]
                for k in range(hidden):
                    at = (b * hidden + k) * hidden + unit
                    new[first + k * columns] += through[at] * source

    f, i, table = floats(dtype), INTEGER, INTEGERS
    types = (i, i, i, table, table, table, f, f, f, f, i, f, i, i, f, f)
    return Kernel(f"full_influence {states} {late} {dtype}", add_rest, types)


def _on_device(tables):
    return [cupy.asarray(table) for table in tables]


class FullInfluence:
    """The influence of all parameters on all units: exact."""

    def __init__(self, columns, batch, dtype):
        self.columns, self._tables = columns, _on_device(columns.tables)
        shape = (columns.cell.states, batch, columns.hidden, columns.count)
        self._values, self._next = cupy.zeros(shape, dtype), cupy.empty(shape, dtype)

    def reset(self):
        """No parameter has had any influence yet."""
        self._values.fill(0)

    def propagate(self, local):
        """Go on by the step that `local` describes."""
        old, new = self._values, self._next
        states, batch, hidden, columns = old.shape
        cell = self.columns.cell
        for s in range(states):
            cupy.matmul(local.transition[s], old[0], out=new[s])
        blocks = (*grid(columns)[:1], batch, 1)
        full_kernel(states, cell.late > 0, old.dtype)(
            blocks, (THREADS, 1, 1), batch, hidden, columns, *self._tables, old, new,
            local.by_state, local.coefficients, local.coefficients[0, 0].size, local.sources,
            local.sources.shape[1], (cell.gates - cell.late) * hidden, local.gated_by,
            local.through,
        )  # fmt: skip
        self._values, self._next = new, old

    def gradient(self, dy):
        """The gradient by each column, from that by the hidden states, dy (B, H)."""
        return cupy.matmul(dy.reshape(-1), self._values[0].reshape(dy.size, -1))


@cache
def _mix(count):
    """A function (values, factors, index, stride, start): start plus values times factors."""
    if count == 0:
        return inlined(lambda values, factors, index, stride, start: start)
    others = _mix(count - 1)

    @inlined
    def add_products(values, factors, index, stride, start):
        added = start + values[0] * factors[index]
        return others(values[1:], factors, index + stride, stride, added)

    return add_products


@cache
def _mix_rows(rows, count):
    """As `_mix` once for each of `rows` states, starting from a coefficient times the source."""
    if rows == 0:
        return inlined(lambda values, factors, index, stride, coefficients, c, each, source: ())
    others, mix = _mix_rows(rows - 1, count), _mix(count)

    @inlined
    def mix_some(values, factors, index, stride, coefficients, c, each, source):
        first = mix(values, factors, index, stride, source * coefficients[c])
        after = index + count * stride
        return (first,) + others(
            values, factors, after, stride, coefficients, c + each, each, source
        )

    return mix_some


@cache
def own_kernel(states, dtype):
    """The kernel of a step, a thread for each column of each sequence."""
    dtype = np.dtype(dtype)
    get, put, mix = gather(states), scatter(states), _mix_rows(states, states)

    def propagate(
        hidden, columns, units, coefficient_index, source_index, influence, plane, own,
        coefficients, coefficients_each, sources, sources_each,
    ):  # fmt: skip
        n, b = cuda.grid(1), cuda.blockIdx.y
        if n >= columns:
            return
        at = b * columns + n
        values = mix(
            get(influence, at, plane), own, b * states * states * hidden + units[n], hidden,
            coefficients, b * states * coefficients_each + coefficient_index[n],
            coefficients_each, sources[b * sources_each + source_index[n]],
        )  # fmt: skip
        put(influence, at, plane, values)

    f, i, table = floats(dtype), INTEGER, INTEGERS
    types = (i, i, table, table, table, f, i, f, f, i, f, i)
    return Kernel(f"own_influence {states} {dtype}", propagate, types)


@cache
def own_gradient_kernel(dtype):
    """The kernel of the gradient, a thread for each column."""
    dtype = np.dtype(dtype)

    def gradient(batch, hidden, columns, units, influence, dy, result):
        n = cuda.grid(1)
        if n >= columns:
            return
        unit = units[n]
        total = dy[unit] * influence[n]
        for b in range(1, batch):
            total += dy[b * hidden + unit] * influence[b * columns + n]
        result[n] = total

    f, i = floats(dtype), INTEGER
    return Kernel(f"own_influence_gradient {dtype}", gradient, (i, i, i, INTEGERS, f, f, f))


class OwnInfluence:
    """The influence of each parameter on the unit in whose row it stands: (states, B, columns)."""

    def __init__(self, columns, states, batch, dtype):
        self.columns, self._tables = columns, _on_device(columns.tables)
        self.values = cupy.zeros((states, batch, columns.count), dtype)

    def reset(self):
        """No parameter has had any influence yet."""
        self.values.fill(0)

    def propagate(self, own, coefficients, sources):
        """Go on by one step.

        own (B, states, states, H): each unit's new states by its old ones; coefficients and
        sources as in `Local`, of as many states as this has.
        """
        states, batch, columns = self.values.shape
        own_kernel(states, self.values.dtype)(
            (*grid(columns)[:1], batch, 1), (THREADS, 1, 1), self.columns.hidden, columns,
            *self._tables, self.values, batch * columns, own, coefficients,
            coefficients[0, 0].size, sources, sources.shape[1],
        )  # fmt: skip

    def gradient(self, dy):
        """The gradient by each column, from that by the first of the states, dy (B, H)."""
        (batch, hidden), columns = dy.shape, self.values.shape[2]
        result = cupy.empty(columns, dy.dtype)
        own_gradient_kernel(dy.dtype)(
            grid(columns), (THREADS, 1, 1), batch, hidden, columns, self._tables[0], self.values,
            dy, result,
        )  # fmt: skip
        return result
