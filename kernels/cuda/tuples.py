"""Tuples of numbers from and to memory. A tuple lives in registers: no index is ever computed."""

from functools import cache

from .device import inlined


@cache
def gather(count):
    """A function (pointer, index, stride) -> (pointer[index], pointer[index + stride], ...)."""
    if count == 0:
        return inlined(lambda pointer, index, stride: ())
    others = gather(count - 1)

    @inlined
    def gather_some(pointer, index, stride):
        return (pointer[index],) + others(pointer, index + stride, stride)

    return gather_some


@cache
def scatter(count):
    """A function (pointer, index, stride, values) that writes what `gather` reads."""
    if count == 0:
        return inlined(lambda pointer, index, stride, values: None)
    others = scatter(count - 1)

    @inlined
    def scatter_some(pointer, index, stride, values):
        pointer[index] = values[0]
        others(pointer, index + stride, stride, values[1:])

    return scatter_some


@cache
def copy(count):
    """A function (source, index, target, index, stride) that copies as many numbers."""
    get, put = gather(count), scatter(count)

    @inlined
    def copy_some(source, source_index, target, target_index, stride):
        put(target, target_index, stride, get(source, source_index, stride))

    return copy_some


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
