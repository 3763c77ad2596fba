"""A cell's extras, from memory."""

from functools import cache

from ..extras import strides_of
from .compiling import inlined
from .simd import load, load_part


def as_triples(extras):
    """What kernels take: (flat array, step stride, sequence stride) of each; see `..extras`."""
    return tuple([(extra.reshape(-1), *strides_of(extra)) for extra in extras])


@cache
def load_row(lanes):
    """A function (array, index, left): the vector at `index` of a row that goes on for `left`."""

    @inlined
    def load_some(array, index, left):
        if left >= lanes:
            return load(array, index)
        return load_part(array, index, left)

    return load_some


@cache
def gather_extras(count, lanes):
    """A function (extras, t, b, j, hidden) -> those of the units from j on, of sequence b at t."""
    if count == 0:
        return inlined(lambda extras, t, b, j, hidden: ())
    others, load_units = gather_extras(count - 1, lanes), load_row(lanes)

    @inlined
    def gather_some(extras, t, b, j, hidden):
        array, step, sequence = extras[0]
        value = load_units(array, t * step + b * sequence + j, hidden - j)
        return (value,) + others(extras[1:], t, b, j, hidden)

    return gather_some
