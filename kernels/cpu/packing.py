"""Packing: the right factor of a product, rearranged into panels as `product` reads them.

A panel has as many columns as a block has: first a row to start from (the bias, or zeros), then
one row for each step of the depth.
"""

from functools import cache

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .blocks import VECTORS
from .compiling import part
from .simd import (
    REGISTER_BYTES,
    Vector,
    array_data,
    lanes_of,
    load,
    load_part,
    masked_load,
    store,
    vector_ir,
)
from .views import flattened
from .workspace import empty

_ROWS_TOGETHER = 8  # whose next numbers are fetched ahead while panel after panel takes its columns


@cache
def panel_width(dtype):
    """Columns of a panel."""
    return VECTORS * lanes_of(dtype)


def empty_panels(columns, depth, dtype):
    """Room for packed panels: (panels, depth + 1, width)."""
    width = panel_width(dtype)
    return empty((-(-columns // width), depth + 1, width), np.dtype(dtype))


def _transpose(builder, rows):
    """The columns of a square of vectors: blocks change places, half as large at each stage."""
    lanes, distance = len(rows), len(rows) // 2
    while distance:
        orders = []
        for upper in (0, distance):
            order = []
            for group in range(0, lanes, 2 * distance):
                first = range(group + upper, group + upper + distance)
                order += [*first, *(lanes + i for i in first)]
            orders.append(ir.Constant(ir.VectorType(ir.IntType(32), lanes), order))
        rows = list(rows)
        for i in range(lanes):
            if not i & distance:
                a, b = rows[i], rows[i + distance]
                rows[i], rows[i + distance] = (builder.shuffle_vector(a, b, o) for o in orders)
        distance //= 2
    return rows


@intrinsic
def _pack_square(typingctx, source, starts, first, along, count, panel, to, pitch):
    """Column w of the panel: `count` numbers from source[starts[first + w] + along] on.

    As many columns as a vector has lanes, the rows `pitch` apart from panel[to] on; zeros for
    negative starts. Of the rows, so many are written as a vector has lanes.
    """
    vector = Vector(source.dtype)
    lanes, wide = vector.lanes, vector_ir(vector)

    def codegen(context, builder, sig, args):
        data, places, target = (
            array_data(context, builder, sig.args[i], args[i]) for i in (0, 1, 5)
        )
        zero, columns = ir.Constant(ir.IntType(64), 0), []
        for w in range(lanes):
            number = builder.add(args[2], ir.Constant(ir.IntType(64), w))
            start = builder.load(builder.gep(places, [number]))
            some = builder.select(builder.icmp_signed("<", start, zero), zero, args[4])
            pointer = builder.gep(data, [builder.add(start, args[3])])
            pointer = builder.bitcast(pointer, wide.as_pointer())
            columns.append(masked_load(builder, vector, pointer, some))
        place = args[6]
        for row in _transpose(builder, columns):
            pointer = builder.bitcast(builder.gep(target, [place]), wide.as_pointer())
            builder.store(row, pointer, align=vector.element.bitwidth // 8)
            place = builder.add(place, args[7])
        return context.get_dummy_value()

    intp = types.intp
    return types.void(source, starts, intp, intp, intp, panel, intp, intp), codegen


@part
def pack_columns(source, starts, start_row, start_index, panels):
    """Pack B[k, n] = source[starts[n] + k] below the row start_row[start_index[n]].

    Panels (P, K + 1, width). A negative start or index stands for zeros.
    """
    count, height, width = panels.shape
    lanes, depth = REGISTER_BYTES // source.itemsize, height - 1
    flat = flattened(panels)
    square = np.empty(lanes * lanes, source.dtype)
    all_starts = np.full(count * width, -1)
    for n in range(starts.size):
        all_starts[n] = starts[n]
    for p in range(count):
        for w in range(width):
            n = p * width + w
            index = start_index[n] if n < start_index.size else -1
            panels[p, 0, w] = 0 if index < 0 else start_row[index]
        for k in range(0, depth, lanes):
            some = min(lanes, depth - k)
            for w in range(0, width, lanes):
                n, to = p * width + w, (p * height + 1 + k) * width + w
                if some == lanes:
                    _pack_square(source, all_starts, n, k, some, flat, to, width)
                else:
                    _pack_square(source, all_starts, n, k, some, square, np.intp(0), lanes)
                    for i in range(some):
                        store(flat, to + i * width, load(square, i * lanes))


@part
def pack_rows(source, starts, columns, panels):
    """Pack B[k, n] = source[starts[k] + n], n = 0 .. columns - 1, below a row of zeros.

    Panels (P, K + 1, width). A negative start stands for zeros.
    """
    count, height, width = panels.shape
    lanes = REGISTER_BYTES // source.itemsize
    flat = flattened(panels)
    panels[:, 0] = 0
    for first in range(0, starts.size, _ROWS_TOGETHER):
        last = min(first + _ROWS_TOGETHER, starts.size)
        for p in range(count):
            for k in range(first, last):
                for w in range(0, width, lanes):
                    n, to = p * width + w, (p * height + 1 + k) * width + w
                    if starts[k] >= 0 and n + lanes <= columns:
                        store(flat, to, load(source, starts[k] + n))
                    else:
                        some = max(0, columns - n) if starts[k] >= 0 else 0
                        store(flat, to, load_part(source, max(0, starts[k]) + n, some))
