"""The influence of all parameters on the states, carried from step to step.

`FullInfluence` carries it whole, which is one matrix product a sequence and step. Its columns
lie in the panels of `product`, so that nothing is packed: a panel (1 + S H, width) holds a row
of zeros and then, of `width` parameters, their influence on each unit of each state. A step
reads a few panels, multiplies them by the step's transition, and writes them back where they
were while they are in the cache.

`OwnInfluence` carries the influence of a parameter on the unit in whose row it stands.
"""

from functools import cache

import numpy as np

from .compiling import inlined, kernel
from .packing import empty_panels
from .product import multiply_panels
from .simd import REGISTER_BYTES, fma, lanes_of, load, load_part, store, store_part
from .threads import run_parallel, shares, split
from .tuples import gather_part, scatter_part
from .views import flattened

GROUP = 4  # panels a product: their new values stay in the cache until they are written back


@cache
def _propagate_full(states, late, dtype):
    @kernel(f"propagate_full_influence {states} {late} {dtype}")
    def propagate(
        first, last, panels_each, influence, transition, by_state, coefficients, sources,
        gated_by, through, unit, coefficient_index, source_index,
    ):  # fmt: skip
        batch, hidden = transition.shape[1:3]
        rows, width = states * hidden, influence.shape[2]
        reach = GROUP * width
        product = np.empty(rows * reach, influence.dtype)
        a_offsets, c_offsets = np.empty(rows, np.intp), np.arange(rows) * reach
        factors = coefficients.reshape(batch, states, -1)
        early = gated_by.reshape(batch, -1)
        i = first
        while i < last:
            b, p = i // panels_each, i % panels_each
            count = min(GROUP, panels_each - p, last - i)
            for r in range(rows):
                a_offsets[r] = ((r // hidden * batch + b) * hidden + r % hidden) * hidden
            multiply_panels(
                flattened(transition), a_offsets, rows, np.intp(1), hidden,
                influence[i : i + count], product, c_offsets, count * width, np.bool_(False),
            )  # fmt: skip
            for r in range(rows if states > 1 else 0):
                for s in range(1, states):
                    k = r % hidden
                    factor = by_state[b, r // hidden, s, k]
                    for q in range(count):
                        source, at = influence[i + q, 1 + s * hidden + k], r * reach + q * width
                        for w in range(width):
                            product[at + w] += factor * source[w]
            for q in range(count):
                for r in range(rows):
                    target, at = influence[i + q, 1 + r], r * reach + q * width
                    for w in range(width):
                        target[w] = product[at + w]
                start = (p + q) * width
                for w in range(min(width, unit.size - start)):
                    k, c = unit[start + w], coefficient_index[start + w]
                    source = sources[b, source_index[start + w]]
                    for s in range(states):
                        influence[i + q, 1 + s * hidden + k, w] += factors[b, s, c] * source
                    if late and c < early.shape[1]:
                        source *= early[b, c]
                        for r in range(hidden):
                            influence[i + q, 1 + r, w] += through[b, r, k] * source
            i += count

    return propagate


@kernel("full_influence_gradient")
def _full_gradient(first, last, influence, dy, gradient):
    (batch, hidden), width = dy.shape, influence.shape[2]
    panels_each, height = influence.shape[0] // batch, influence.shape[1]
    flat, lanes = flattened(influence), REGISTER_BYTES // influence.itemsize
    for p in range(first, last):
        for w in range(0, width, lanes):
            total = load(gradient, p * width + w)
            for b in range(batch):
                at = ((b * panels_each + p) * height + 1) * width + w
                for k in range(hidden):
                    total = fma(dy[b, k], load(flat, at + k * width), total)
            store(gradient, p * width + w, total)


class FullInfluence:
    """The influence of all parameters on all units: exact."""

    def __init__(self, columns, batch, dtype):
        self.columns, self._tables = columns, columns.tables
        states, hidden = columns.cell.states, columns.hidden
        panels = empty_panels(columns.count, states * hidden, dtype)
        self._panels_each = len(panels)
        self._panels = np.zeros((batch * len(panels), *panels.shape[1:]), dtype)

    def reset(self):
        """No parameter has had any influence yet."""
        self._panels.fill(0)

    def propagate(self, local):
        """Go on by the step that `local` describes."""
        states, batch, hidden = local.transition.shape[:3]
        propagate = _propagate_full(states, self.columns.cell.late > 0, self._panels.dtype)
        work = 2 * states * hidden * hidden * batch * self.columns.count
        run_parallel(
            propagate,
            [
                (
                    first, last, self._panels_each, self._panels, local.transition,
                    local.by_state, local.coefficients, local.sources, local.gated_by,
                    local.through, *self._tables,
                )
                for first, last in split(len(self._panels), shares(work))
            ],
        )  # fmt: skip

    def gradient(self, dy):
        """The gradient by each column, from that by the hidden states, dy (B, H)."""
        gradient = np.zeros(self._panels_each * self._panels.shape[2], dy.dtype)
        bounds = split(self._panels_each, shares(2 * dy.size * gradient.size))
        run_parallel(
            _full_gradient, [(first, last, self._panels, dy, gradient) for first, last in bounds]
        )
        return gradient[: self.columns.count]


@cache
def _mix(count):
    """A function (values, factors, index, stride, start): start plus values times factors."""
    if count == 0:
        return inlined(lambda values, factors, index, stride, start: start)
    others = _mix(count - 1)

    @inlined
    def add_products(values, factors, index, stride, start):
        start = fma(values[0], factors[index], start)
        return others(values[1:], factors, index + stride, stride, start)

    return add_products


@cache
def _mix_rows(rows, count):
    """As `_mix` once for each of `rows` states, starting from a coefficient times the source."""
    if rows == 0:
        return inlined(lambda values, factors, index, stride, coefficients, c, reach, source: ())
    others, mix = _mix_rows(rows - 1, count), _mix(count)

    @inlined
    def mix_some(values, factors, index, stride, coefficients, c, reach, source):
        first = mix(values, factors, index, stride, source * coefficients[c])
        index, c = index + count * stride, c + reach
        return (first,) + others(values, factors, index, stride, coefficients, c, reach, source)

    return mix_some


@cache
def _propagate_own(states, dtype):
    lanes, get, put, mix = (
        lanes_of(dtype), gather_part(states), scatter_part(states), _mix_rows(states, states)
    )  # fmt: skip

    @kernel(f"propagate_own_influence {states} {dtype}")
    def propagate(first, last, early_rows, segments, influence, own, coefficients, sources):
        batch, count = influence.shape[1:]
        hidden, reach = own.shape[3], coefficients[0, 0].size
        rows = coefficients.shape[3] * hidden
        flat, own_flat, s_flat = flattened(influence), flattened(own), flattened(sources)
        factors, plane = flattened(coefficients), batch * count
        for i in range(len(segments)):
            start, width, part, source, late_source = segments[i]
            for row in range(first, last):
                for b in range(batch):
                    at = b * count + start + row * width
                    own_at = b * states * states * hidden + row % hidden
                    c = b * states * reach + part * rows + row
                    s = b * sources.shape[1] + (source if row < early_rows else late_source)
                    for q in range(0, width, lanes):
                        n = min(lanes, width - q)
                        values = mix(
                            get(flat, at + q, plane, n), own_flat, own_at, hidden,
                            factors, c, reach, load_part(s_flat, s + q, n),
                        )  # fmt: skip
                        put(flat, at + q, plane, values, n)

    return propagate


@kernel("own_influence_gradient")
def _own_gradient(first, last, segments, influence, dy, gradient):
    (batch, hidden), count = dy.shape, influence.shape[2]
    flat, lanes = flattened(influence), REGISTER_BYTES // influence.itemsize
    for i in range(len(segments)):
        start, width = segments[i, 0], segments[i, 1]
        for row in range(first, last):
            at = start + row * width
            for q in range(0, width, lanes):
                n = min(lanes, width - q)
                total = load_part(gradient, at + q, n)
                for b in range(batch):
                    values = load_part(flat, b * count + at + q, n)
                    total = fma(values, dy[b, row % hidden], total)
                store_part(gradient, at + q, total, n)


class OwnInfluence:
    """The influence of each parameter on the unit in whose row it stands: (states, B, columns)."""

    def __init__(self, columns, states, batch, dtype):
        self.columns = columns
        self.values = np.zeros((states, batch, columns.count), dtype)

    def reset(self):
        """No parameter has had any influence yet."""
        self.values.fill(0)

    def _rows(self, work):
        return split(self.columns.cell.gates * self.columns.hidden, shares(work))

    def propagate(self, own, coefficients, sources):
        """Go on by one step.

        own (B, states, states, H): each unit's new states by its old ones; coefficients and
        sources as in `Local`, of as many states as this has.
        """
        columns, states = self.columns, len(self.values)
        early_rows = (columns.cell.gates - columns.cell.late) * columns.hidden
        propagate = _propagate_own(states, self.values.dtype)
        run_parallel(
            propagate,
            [
                (
                    first, last, early_rows, columns.segments, self.values, own, coefficients,
                    sources,
                )
                for first, last in self._rows(self.values.size * (states + 1))
            ],
        )  # fmt: skip

    def gradient(self, dy):
        """The gradient by each column, from that by the first of the states, dy (B, H)."""
        gradient = np.zeros(self.columns.count, dy.dtype)
        run_parallel(
            _own_gradient,
            [
                (first, last, self.columns.segments, self.values, dy, gradient)
                for first, last in self._rows(2 * self.values[0].size)
            ],
        )
        return gradient
