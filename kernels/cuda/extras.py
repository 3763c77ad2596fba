"""A cell's extras, from memory."""

from functools import cache

from numba import types

from ..extras import strides_of
from .device import INTEGER, floats, inlined


def types_of_extras(cell, dtype):
    """Numba's type of what `gather_extras` takes: a triple (see `..extras`) of each."""
    return types.UniTuple(types.Tuple((floats(dtype), INTEGER, INTEGER)), cell.extras)


def as_arguments(extras):
    """What is passed for it: address, step stride and sequence stride of one after the other."""
    return [number for extra in extras for number in (extra.data.ptr, *strides_of(extra))]


@cache
def gather_extras(count):
    """A function (extras, t, b, j) -> those of unit j of sequence b at step t."""
    if count == 0:
        return inlined(lambda extras, t, b, j: ())
    others = gather_extras(count - 1)

    @inlined
    def gather_some(extras, t, b, j):
        pointer, step, sequence = extras[0]
        return (pointer[t * step + b * sequence + j],) + others(extras[1:], t, b, j)

    return gather_some
