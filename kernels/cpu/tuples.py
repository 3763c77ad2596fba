"""Tuples of vectors from and to arrays: one vector each of so many rows, a stride apart."""

from functools import cache

from .compiling import inlined
from .simd import load, load_part, store, store_part


@cache
def gather(count):
    """A function (array, index, stride) -> (array[index], array[index + stride], ...)."""
    if count == 0:
        return inlined(lambda array, index, stride: ())
    others = gather(count - 1)

    @inlined
    def gather_some(array, index, stride):
        return (load(array, index),) + others(array, index + stride, stride)

    return gather_some


@cache
def scatter(count):
    """A function (array, index, stride, values) that writes what `gather` reads."""
    if count == 0:
        return inlined(lambda array, index, stride, values: None)
    others = scatter(count - 1)

    @inlined
    def scatter_some(array, index, stride, values):
        store(array, index, values[0])
        others(array, index + stride, stride, values[1:])

    return scatter_some


@cache
def add(count):
    """A function (a, b) -> (a[0] + b[0], a[1] + b[1], ...)."""
    if count == 0:
        return inlined(lambda a, b: ())
    others = add(count - 1)

    @inlined
    def add_some(a, b):
        return (a[0] + b[0],) + others(a[1:], b[1:])

    return add_some


@cache
def add_at(index):
    """A function (values, more) -> the values, the one at `index` increased by `more`."""
    if index == 0:
        return inlined(lambda values, more: (values[0] + more,) + values[1:])
    others = add_at(index - 1)

    @inlined
    def add_further_on(values, more):
        return (values[0],) + others(values[1:], more)

    return add_further_on


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
