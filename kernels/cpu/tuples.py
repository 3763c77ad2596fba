"""Tuples of vectors from and to arrays: one vector each of so many rows, a stride apart."""

from functools import cache

from ..tuples import row_transfers, sums, transfers
from .compiling import inlined
from .simd import load, load_part, store, store_part

gather, scatter = transfers(inlined, load, store)
add, add_at = sums(inlined)
gather_rows, scatter_rows = row_transfers(inlined, load_part, store_part)


@cache
def gather_part(count):
    """As `gather`, of the first `some` lanes: (array, index, stride, some) -> vectors."""
    if count == 0:
        return inlined(lambda array, index, stride, some: ())
    others = gather_part(count - 1)

    @inlined
    def gather_some(array, index, stride, some):
        return (load_part(array, index, some),) + others(array, index + stride, stride, some)

    return gather_some


@cache
def scatter_part(count):
    """As `scatter`, of the first `some` lanes: (array, index, stride, values, some)."""
    if count == 0:
        return inlined(lambda array, index, stride, values, some: None)
    others = scatter_part(count - 1)

    @inlined
    def scatter_some(array, index, stride, values, some):
        store_part(array, index, values[0], some)
        others(array, index + stride, stride, values[1:], some)

    return scatter_some
