"""Layer normalisation of rows of products, and the way back: see `..normalisation`.

A warp works on a row. Of the products with the inputs all steps' rows are normalised at once; those
with the hidden states by the kernel that applies the cell to them, each of whose warps reads its
whole row. Layouts: normals (T, B, G, H) and scales (T, B, 2), a number for each phase, in the
working dtype; gains as the parameters lie.
"""

import math
from functools import cache

from numba import types

from ..normalisation import EPSILON
from .device import ELEMENTS, INTEGER, INTEGERS, cuda, floats, inlined, working
from .launching import Kernel
from .reductions import WARP, warp_sum
from .tiles import COLUMNS, ROWS, gates_product
from .tuples import add, gather, multiply, repeat, scatter

WARPS = 4
"""Of a block; its threads are WARP by WARPS."""

PHASES = 2
"""Scales of a row: one for each phase that a cell may have."""


@cache
def _mean_and_scale(dtype):
    """A function (row, at, size) for all lanes of a warp, of the row from row[at] on."""
    element = ELEMENTS[dtype]

    @inlined
    def mean_and_scale(row, at, size):
        lane, count = cuda.threadIdx.x, element(size)
        total = element(0)
        for i in range(lane, size, WARP):
            total += row[at + i]
        mean = warp_sum(total) / count
        squares = element(0)
        for i in range(lane, size, WARP):
            distance = row[at + i] - mean
            squares += distance * distance
        return mean, element(1) / math.sqrt(warp_sum(squares) / count + element(EPSILON))

    return mean_and_scale


@cache
def inputs_kernel(dtype):
    """The kernel that normalises rows of inputs' products in place, with gain but without bias;
    `keep` tells whether normals and scales are to be written."""
    moments = _mean_and_scale(dtype)

    def run(rows, size, xg, gain, keep, normals, scales):
        row, lane = cuda.blockIdx.x * WARPS + cuda.threadIdx.y, cuda.threadIdx.x
        if row >= rows:
            return
        first = row * size
        mean, scale = moments(xg, first, size)
        if keep and lane == 0:
            scales[row * PHASES] = scale
        for i in range(lane, size, WARP):
            normal = (xg[first + i] - mean) * scale
            if keep:
                normals[first + i] = normal
            xg[first + i] = normal * gain[i]

    f, s, i = floats(dtype), floats(working(dtype)), INTEGER
    return Kernel(f"normalise_inputs {dtype}", run, (i, i, f, f, i, s, s))


@cache
def backward_kernel(dtype):
    """The kernel that turns gradients d by what was normalised into those by the products, `out`,
    which may be d, and into d times the normals. Rows past the sequences' ends give zeros; row
    0 is of step t."""
    element = ELEMENTS[dtype]

    def run(t, ends, batch, rows, size, pitch, d, gain, normals, scales, out, by_gain):
        row, lane = cuda.blockIdx.x * WARPS + cuda.threadIdx.y, cuda.threadIdx.x
        if row >= rows:
            return
        first, nothing = row * pitch, element(0)
        if t + row // batch >= ends[row % batch]:
            for i in range(lane, size, WARP):
                out[first + i] = nothing
                by_gain[first + i] = nothing
            return
        total = along = nothing
        for i in range(lane, size, WARP):
            gained = d[first + i] * gain[i]
            total += gained
            along += gained * normals[first + i]
        mean, slope = warp_sum(total) / element(size), warp_sum(along) / element(size)
        scale = scales[row * PHASES]
        for i in range(lane, size, WARP):
            value, normal = d[first + i], normals[first + i]
            by_gain[first + i] = value * normal
            out[first + i] = (value * gain[i] - mean - normal * slope) * scale

    f, s, i = floats(dtype), floats(working(dtype)), INTEGER
    types_ = (i, INTEGERS, i, i, i, i, f, f, s, s, f, f)
    return Kernel(f"normalise_backward {dtype}", run, types_)


@cache
def product_kernel(gates, dtype, seen):
    """The kernel that writes the recurrent products (B, gates, H) of a step as they are.

    `seen` is the dtype of what is multiplied with the weights.
    """
    product, put = gates_product(gates, dtype), scatter(gates)

    def run(batch, hidden, a, w, sums):
        b = cuda.blockIdx.y * ROWS + cuda.threadIdx.y
        j = cuda.blockIdx.x * COLUMNS + cuda.threadIdx.x
        present = b < batch
        values = product(a, b * hidden, w, hidden, hidden, present)
        if present and j < hidden:
            put(sums, b * gates * hidden + j, hidden, values)

    f, s, i = floats(dtype), floats(working(dtype)), INTEGER
    return Kernel(f"product_step {gates} {dtype} {seen}", run, (i, i, floats(seen), f, s))


def type_of_norm(cell, dtype):
    """Numba's type of what `recurrent_sums` takes: sums, gain, normals, scales, or nothing."""
    f, s = floats(dtype), floats(working(dtype))
    return types.Tuple((s, f, s, s) if cell.normalised else ())


@cache
def recurrent_sums(cell, count, dtype):
    """A function (norm, a, row, w, hidden, depth, present): what the thread's unit has of products.

    Of a row of `a`, `depth` numbers, and the weights of `count` gates; all threads of the block
    must call it.

    Of a normalised cell they stand in `norm` already, and come normalised, but without bias.
    """
    if not cell.normalised:
        product = gates_product(count, dtype)

        @inlined
        def sums_of(norm, a, row, w, hidden, depth, present):
            return product(a, row * depth, w, hidden, depth, present)

        return sums_of
    moments, all_gates = _mean_and_scale(dtype), cell.gates
    get, put, each = gather(count), scatter(count), repeat(count)
    plus, times = add(count), multiply(count)

    @inlined
    def sums_of(norm, a, b, w, hidden, depth, present):  # of one head: its rows are sequences
        sums, gain, normals, scales = norm
        row, size, j = b, count * hidden, cuda.blockIdx.x * COLUMNS + cuda.threadIdx.x
        if not present:
            row = 0  # of no account
        mean, scale = moments(sums, row * size, size)
        unit = min(j, hidden - 1)
        values = plus(get(sums, row * size + unit, hidden), each(-mean))
        values = times(values, each(scale))
        if present and j < hidden:
            put(normals, b * all_gates * hidden + j, hidden, values)
            if j == 0:
                scales[b * PHASES] = scale
        return times(values, get(gain, unit, hidden))

    return sums_of
