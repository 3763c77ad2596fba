"""Tuples of numbers from and to memory, and what is done with them: see `kernels.tuples`."""

from functools import cache

from ..tuples import pairwise, part_transfers, row_transfers, sums, transfers
from .device import inlined


@inlined
def _load(pointer, index):
    return pointer[index]


@inlined
def _store(pointer, index, value):
    pointer[index] = value


@inlined
def load_part(pointer, index, some):
    """What a thread has of a vector: one number."""
    return pointer[index]


@inlined
def store_part(pointer, index, value, some):
    """See `load_part`."""
    pointer[index] = value


gather, scatter = transfers(inlined, _load, _store)
gather_part, scatter_part = part_transfers(inlined, load_part, store_part)
gather_rows, scatter_rows = row_transfers(inlined, load_part, store_part)
add, add_at = sums(inlined)
multiply = pairwise(inlined, inlined(lambda a, b: a * b))


@cache
def copy(count):
    """A function (source, index, target, index, stride) that copies as many numbers."""
    get, put = gather(count), scatter(count)

    @inlined
    def copy_some(source, source_index, target, target_index, stride):
        put(target, target_index, stride, get(source, source_index, stride))

    return copy_some


@cache
def repeat(count):
    """A function value -> (value, value, ...)."""
    if count == 0:
        return inlined(lambda value: ())
    others = repeat(count - 1)

    @inlined
    def repeat_some(value):
        return (value,) + others(value)

    return repeat_some


@cache
def select(count):
    """A function (condition, a, b) -> a where the condition holds, else b."""
    if count == 0:
        return inlined(lambda condition, a, b: ())
    others = select(count - 1)

    @inlined
    def select_some(condition, a, b):
        return (a[0] if condition else b[0],) + others(condition, a[1:], b[1:])

    return select_some


@cache
def add_products(count):
    """A function (sums, factor, array, index, stride): the sums plus factor times numbers."""
    if count == 0:
        return inlined(lambda sums, factor, array, index, stride: ())
    others = add_products(count - 1)

    @inlined
    def add_some(sums, factor, array, index, stride):
        first = sums[0] + factor * array[index]
        return (first,) + others(sums[1:], factor, array, index + stride, stride)

    return add_some


@cache
def gather_each(count):
    """A function (pointers, index) -> (pointers[0][index], pointers[1][index], ...)."""
    if count == 0:
        return inlined(lambda pointers, index: ())
    others = gather_each(count - 1)

    @inlined
    def gather_some(pointers, index):
        return (pointers[0][index],) + others(pointers[1:], index)

    return gather_some


@cache
def scatter_each(count):
    """A function (pointers, index, values) that writes what `gather_each` reads."""
    if count == 0:
        return inlined(lambda pointers, index, values: None)
    others = scatter_each(count - 1)

    @inlined
    def scatter_some(pointers, index, values):
        pointers[0][index] = values[0]
        others(pointers[1:], index, values[1:])

    return scatter_some
