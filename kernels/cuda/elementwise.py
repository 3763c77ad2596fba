"""Maps over whole arrays, sums of squares, dropout."""

from functools import cache

import cupy
import numpy as np
from numba import types

from ..specialise import specialise, text_of
from .device import ELEMENTS, INTEGER, cuda, floats, inlined, working
from .dropping import arguments_of, drop
from .functions import REPLACEMENTS
from .launching import Kernel
from .tuples import gather_each, scatter_each

THREADS = 256


def _grid(size):
    return (-(-size // THREADS), 1, 1)


@cache
def map_kernel(function, dtype, array_count, scalar_count, written):
    """The kernel that applies `function` to arrays and scalars, and writes the first arrays."""
    values_of = specialise(function, REPLACEMENTS, inlined)
    read, write = gather_each(array_count), scatter_each(written)

    def run(arrays, scalars, size):
        i = cuda.grid(1)
        if i < size:
            write(arrays, i, values_of(read(arrays, i), scalars))

    pointers = types.UniTuple(floats(dtype), array_count)
    numbers = types.UniTuple(ELEMENTS[np.dtype(dtype)], scalar_count)
    identity = f"map {function.__name__} {text_of(function)} {dtype}"
    return Kernel(identity, run, (pointers, numbers, INTEGER))


@cache
def _values_written(function, array_count, scalar_count):
    """How many values a map gives, found by trying it on ones."""
    return len(function((1.0,) * array_count, (1.0,) * scalar_count))


def apply_map(function, arrays, scalars):
    """Replace the first arrays' numbers by the values of `function`, number by number.

    `function` takes a tuple with a number of each array and the tuple of scalars, and returns
    the new numbers of the first arrays. All arrays are contiguous, of one size and dtype.
    """
    dtype, size = arrays[0].dtype, arrays[0].size
    written = _values_written(function, len(arrays), len(scalars))
    run = map_kernel(function, dtype, len(arrays), len(scalars), written)
    run(_grid(size), (THREADS, 1, 1), *arrays, *map(working(dtype).type, scalars), size)


@cache
def master_kernel(function, dtype, array_count, scalar_count):
    """The kernel of `apply_map_to_master`, for `array_count` float32 arrays."""
    values_of = specialise(function, REPLACEMENTS, inlined)
    read, write = gather_each(array_count), scatter_each(array_count)

    def run(parameter, gradient, arrays, scalars, size):
        i = cuda.grid(1)
        if i < size:
            found, kept = parameter[i], read(arrays, i)
            parameter[i] = kept[0]  # to read it as it is when rounded
            master = kept[0] if parameter[i] == found else found
            values = values_of((master,) + kept[1:] + (gradient[i],), scalars)
            write(arrays, i, values)
            parameter[i] = values[0]

    halves, single = floats(dtype), np.dtype("float32")
    pointers = types.UniTuple(floats(single), array_count)
    numbers = types.UniTuple(ELEMENTS[single], scalar_count)
    signature = (halves, halves, pointers, numbers, INTEGER)
    identity = f"master {function.__name__} {text_of(function)} {dtype}"
    return Kernel(identity, run, signature)


def apply_map_to_master(function, parameter, arrays, gradient, scalars):
    """As `apply_map`, of the float32 `arrays` and `gradient`, and round the first to `parameter`.

    The first array is the parameter's master: the parameter was its rounding, or else others have
    changed it, and the master is what they made of it. Parameter and gradient are of 16 bits;
    `function` gives the new numbers of all `arrays`.
    """
    size = parameter.size
    run = master_kernel(function, parameter.dtype, len(arrays), len(scalars))
    numbers = map(np.float32, scalars)
    run(_grid(size), (THREADS, 1, 1), parameter, gradient, *arrays, *numbers, size)


def sum_of_squares(array):
    """Sum of the squares of all numbers, a 0-d float64 array."""
    numbers = array.reshape(-1).astype(working(array.dtype), copy=False)
    return cupy.square(numbers).sum(dtype=np.float64)


@cache
def dropout_kernel(dtype):
    """The kernel of `dropout`."""

    def run(x, y, size, seed, threshold, scale):
        i = cuda.grid(1)
        if i < size:
            y[i] = drop(x[i], seed, np.uint64(i), threshold, scale)

    element, pointer = ELEMENTS[np.dtype(dtype)], floats(dtype)
    signature = (pointer, pointer, INTEGER, types.uint64, types.uint64, element)
    return Kernel(f"dropout {dtype}", run, signature)


def dropout(x, rate, seed):
    """A copy of `x` with a share `rate` of its numbers set to 0, the rest divided by 1 - rate.

    The same seed drops the same numbers, on every device: the backward pass is the same call.
    """
    y = cupy.empty_like(x)
    kernel = dropout_kernel(x.dtype)
    kernel(_grid(x.size), (THREADS, 1, 1), x, y, x.size, *arguments_of(rate, seed, x.dtype))
    return y


@cache
def mask_kernel(dtype):
    """The kernel of `random_mask`."""

    def run(mask, size, seed, threshold, value):
        i = cuda.grid(1)
        if i < size:
            mask[i] = drop(type(value)(1), seed, np.uint64(i), threshold, value)

    element, pointer = ELEMENTS[np.dtype(dtype)], floats(dtype)
    signature = (pointer, INTEGER, types.uint64, types.uint64, element)
    return Kernel(f"random_mask {dtype}", run, signature)


def random_mask(shape, rate, value, seed, dtype):
    """An array with a share `rate` of zeros and `value` elsewhere: those that `dropout` keeps."""
    mask = cupy.empty(shape, dtype)
    kernel, how = mask_kernel(mask.dtype), arguments_of(rate, seed, mask.dtype, value)
    kernel(_grid(mask.size), (THREADS, 1, 1), mask, mask.size, *how)
    return mask
