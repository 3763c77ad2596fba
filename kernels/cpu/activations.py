"""Activation functions of whole arrays, and of the rows inside other kernels."""

from functools import cache

from ..activations import MAPS
from ..specialise import specialise
from .compiling import inlined, kernel
from .elementwise import apply_map
from .functions import REPLACEMENTS, exp
from .simd import lanes_of, load_part, store_part
from .threads import OF_A_FUNCTION, run_parallel, shares, split
from .views import flattened


@cache
def row_activation(kind, dtype):
    """A function (flat, at, width) that applies the activation in place to numbers at, ..."""
    lanes = lanes_of(dtype)
    if kind == "softmax":

        @inlined
        def apply(flat, at, width):
            highest = flat[at]
            for j in range(1, width):
                highest = max(highest, flat[at + j])
            for j in range(0, width, lanes):
                n = min(lanes, width - j)
                store_part(flat, at + j, exp(load_part(flat, at + j, n) - highest), n)
            total = flat[at]
            for j in range(1, width):
                total += flat[at + j]
            for j in range(width):
                flat[at + j] /= total

    else:
        function = specialise(MAPS[kind][0], REPLACEMENTS, inlined)

        @inlined
        def apply(flat, at, width):
            for j in range(0, width, lanes):
                n = min(lanes, width - j)
                store_part(flat, at + j, function((load_part(flat, at + j, n),), ())[0], n)

    return apply


@cache
def row_gradient(kind, dtype):
    """A function (flat, at, y, y_at, width) that turns gradients by values y, in place, into
    those by the arguments."""
    lanes = lanes_of(dtype)
    if kind == "softmax":

        @inlined
        def turn(flat, at, y, y_at, width):
            along = flat[at] * y[y_at]
            for j in range(1, width):
                along += flat[at + j] * y[y_at + j]
            for j in range(width):
                flat[at + j] = y[y_at + j] * (flat[at + j] - along)

    else:
        function = specialise(MAPS[kind][1], REPLACEMENTS, inlined)

        @inlined
        def turn(flat, at, y, y_at, width):
            for j in range(0, width, lanes):
                n = min(lanes, width - j)
                values = (load_part(flat, at + j, n), load_part(y, y_at + j, n))
                store_part(flat, at + j, function(values, ())[0], n)

    return turn


@cache
def _softmax_rows(dtype):
    softmax = row_activation("softmax", dtype)

    @kernel(f"softmax_rows {dtype}")
    def run(first, last, a):
        for row in range(first, last):
            softmax(flattened(a), row * a.shape[1], a.shape[1])

    return run


@cache
def _softmax_gradient_rows(dtype):
    turn = row_gradient("softmax", dtype)

    @kernel(f"softmax_gradient_rows {dtype}")
    def run(first, last, d, y):
        for row in range(first, last):
            at = row * y.shape[1]
            turn(flattened(d), at, flattened(y), at, y.shape[1])

    return run


def activate(kind, a):
    """Apply "softmax" along the rows of a (N, O), or one of `MAPS` to each number, in place."""
    if kind == "softmax":
        bounds = split(len(a), shares(OF_A_FUNCTION * a.size))
        run_parallel(_softmax_rows(a.dtype), [(*bound, a) for bound in bounds])
    elif kind != "identity":
        apply_map(MAPS[kind][0], (a,), ())


def activate_backward(kind, y, d):
    """Turn gradients d (N, O) by the values y into those by the arguments, in place."""
    if kind == "softmax":
        bounds = split(len(d), shares(OF_A_FUNCTION * d.size))
        run_parallel(_softmax_gradient_rows(d.dtype), [(*bound, d, y) for bound in bounds])
    elif kind != "identity":
        apply_map(MAPS[kind][1], (d, y), ())
