"""Tuples of numbers from and to memory, and sums of them, made by recursion on their length.

Compiled, a tuple lives in registers, and no index into it is ever computed. A device gives its
`jit` for functions that vanish into their callers, and how it reads and writes one number (or
vector): ``load(array, index)`` and ``store(array, index, value)``.
"""

from functools import cache


def transfers(jit, load, store):
    """(gather, scatter) of a device, to be called with the tuples' length.

    ``gather(count)`` is a function (array, index, stride) -> the numbers at index,
    index + stride, ...; ``scatter(count)`` one (array, index, stride, values) that writes them.
    """

    @cache
    def gather(count):
        if count == 0:
            return jit(lambda array, index, stride: ())
        others = gather(count - 1)

        @jit
        def gather_some(array, index, stride):
            return (load(array, index),) + others(array, index + stride, stride)

        return gather_some

    @cache
    def scatter(count):
        if count == 0:
            return jit(lambda array, index, stride, values: None)
        others = scatter(count - 1)

        @jit
        def scatter_some(array, index, stride, values):
            store(array, index, values[0])
            others(array, index + stride, stride, values[1:])

        return scatter_some

    return gather, scatter


def part_transfers(jit, load, store):
    """(gather_part, scatter_part): as `transfers`, of the first `some` lanes of vectors.

    With ``load(array, index, some)`` and ``store(array, index, value, some)``; the functions are
    (array, index, stride, some) -> vectors and (array, index, stride, values, some).
    """

    @cache
    def gather_part(count):
        if count == 0:
            return jit(lambda array, index, stride, some: ())
        others = gather_part(count - 1)

        @jit
        def gather_some(array, index, stride, some):
            return (load(array, index, some),) + others(array, index + stride, stride, some)

        return gather_some

    @cache
    def scatter_part(count):
        if count == 0:
            return jit(lambda array, index, stride, values, some: None)
        others = scatter_part(count - 1)

        @jit
        def scatter_some(array, index, stride, values, some):
            store(array, index, values[0], some)
            others(array, index + stride, stride, values[1:], some)

        return scatter_some

    return gather_part, scatter_part


def pairwise(jit, operation):
    """A device's maker of functions (a, b) -> (operation(a[0], b[0]), operation(a[1], b[1]), ...).

    To be called with the tuples' length; `operation` is what `jit` has made of it.
    """

    @cache
    def of_tuples(count):
        if count == 0:
            return jit(lambda a, b: ())
        others = of_tuples(count - 1)

        @jit
        def of_some(a, b):
            return (operation(a[0], b[0]),) + others(a[1:], b[1:])

        return of_some

    return of_tuples


def sums(jit):
    """(add, add_at) of a device.

    ``add(count)`` is a function (a, b) -> (a[0] + b[0], a[1] + b[1], ...); ``add_at(index)`` one
    (values, more) -> the values, the one at `index` increased by `more`.
    """
    add = pairwise(jit, jit(lambda a, b: a + b))

    @cache
    def add_at(index):
        if index == 0:
            return jit(lambda values, more: (values[0] + more,) + values[1:])
        others = add_at(index - 1)

        @jit
        def add_further_on(values, more):
            return (values[0],) + others(values[1:], more)

        return add_further_on

    return add, add_at


def row_transfers(jit, load, store):
    """(gather_rows, scatter_rows) of a device, to be called with the number of matrices.

    A matrix is a flat array and the pitch of its rows. ``gather_rows(count)`` is a function
    (arrays, pitches, row, column, some) -> each matrix's number, or `some` numbers, there;
    ``scatter_rows(count)`` one (arrays, pitches, row, column, values, some) that writes them.
    Here ``load(array, index, some)`` and ``store(array, index, value, some)``.
    """

    @cache
    def gather_rows(count):
        if count == 0:
            return jit(lambda arrays, pitches, row, column, some: ())
        others = gather_rows(count - 1)

        @jit
        def gather_some(arrays, pitches, row, column, some):
            first = load(arrays[0], row * pitches[0] + column, some)
            return (first,) + others(arrays[1:], pitches[1:], row, column, some)

        return gather_some

    @cache
    def scatter_rows(count):
        if count == 0:
            return jit(lambda arrays, pitches, row, column, values, some: None)
        others = scatter_rows(count - 1)

        @jit
        def scatter_some(arrays, pitches, row, column, values, some):
            store(arrays[0], row * pitches[0] + column, values[0], some)
            others(arrays[1:], pitches[1:], row, column, values[1:], some)

        return scatter_some

    return gather_rows, scatter_rows
