"""exp, tanh and the logistic function on SIMD vectors, correctly shaped over the whole range.

LLVM has no vector versions of these without a vendor's library. All three rest on one argument
reduction: x = n ln 2 + r with |r| ≤ ln 2 / 2, and the Taylor series of e^r - 1 on that interval,
whose remainder lies below half a unit in the last place with the number of terms taken here.
"""

import math

import numpy as np
from numba import njit, types
from numba.extending import overload

from .. import mathematics
from .simd import (
    Vector,
    absolute,
    bits,
    broadcast,
    fma,
    halves,
    polynomial,
    power_of_two,
    select,
    sqrt,
)


class _Format:
    """The constants of the argument reduction for one floating-point format."""

    def __init__(self, dtype, mantissa_bits, degree, lowest, highest, saturated):
        self.round = 1.5 * 2.0**mantissa_bits  # added, it leaves a rounded integer in the low bits
        self.ln2_high = float(dtype(math.log(2)))
        self.ln2_low = (math.log(2) - self.ln2_high) + 2.3190468138462996e-17
        self.series = polynomial([1 / math.factorial(n) for n in range(degree, 1, -1)])
        self.lowest, self.highest = lowest, highest  # beyond, exp is 0 or infinite
        self.saturated = saturated  # beyond ± half of it, tanh is ±1


_FORMATS = {
    types.float32: _Format(np.float32, 23, 8, -104.0, 89.0, 20.0),
    types.float64: _Format(np.float64, 52, 14, -746.0, 710.0, 40.0),
}


def _reduce(x):
    """n + a large constant, and e^r - 1, where x = n ln 2 + r and |r| ≤ ln 2 / 2."""


@overload(_reduce)
def _overload_reduce(x):
    if not isinstance(x, Vector):
        return None
    constants = _FORMATS[x.element]
    origin, high, low = constants.round, -constants.ln2_high, -constants.ln2_low
    series, per_ln2 = constants.series, 1 / math.log(2)

    def reduce(x):
        shifted = fma(x, per_ln2, origin)
        n = shifted - origin
        r = fma(n, low, fma(n, high, x))
        return shifted, fma(r * r, series(r), r)

    return reduce


def exp(x):
    """e to the power x: 0 and infinity out of range, gradual underflow, NaN for NaN."""


@overload(exp)
def _overload_exp(x):
    if not isinstance(x, Vector):
        return None
    constants = _FORMATS[x.element]
    lowest, highest, origin = constants.lowest, constants.highest, constants.round

    def exp_of_vector(x):
        x = select(x < lowest, lowest, x)
        x = select(x > highest, highest, x)
        shifted, rest = _reduce(x)
        # Two factors, since 2^n alone need not be representable where the result still is.
        first, second = halves(bits(shifted), bits(broadcast(x, origin)))
        return (rest + 1) * power_of_two(first) * power_of_two(second)

    return exp_of_vector


@njit(forceinline=True)
def sigmoid(x):
    """1 / (1 + e^-x), from e^-|x| so that nothing overflows and small values keep their digits."""
    e = exp(-absolute(x))
    return select(x < 0, e, 1) / (e + 1)


def tanh(x):
    """Hyperbolic tangent, as E / (E + 2) with E = e^2x - 1: no cancellation anywhere."""


@overload(tanh)
def _overload_tanh(x):
    if not isinstance(x, Vector):
        return None
    saturated = _FORMATS[x.element].saturated

    def tanh_of_vector(x):
        y = x + x
        y = select(y > saturated, saturated, y)
        y = select(y < -saturated, -saturated, y)
        shifted, rest = _reduce(y)
        scale = power_of_two(bits(shifted))
        e = fma(rest, scale, scale - 1)
        return e / (e + 2)

    return tanh_of_vector


# log(1 + e) = 2 artanh(e / (2 + e)); for 0 ≤ e ≤ 1 the argument is at most 1/3, and the series
# in its square loses a factor of 9 a term.
_ARTANH = {
    types.float32: polynomial([1 / n for n in range(17, 0, -2)]),
    types.float64: polynomial([1 / n for n in range(35, 0, -2)]),
}


def softplus(x):
    """log(1 + e^x)."""


@overload(softplus)
def _overload_softplus(x):
    if not isinstance(x, Vector):
        return None
    artanh = _ARTANH[x.element]

    def softplus_of_vector(x):
        e = exp(-absolute(x))
        s = e / (e + 2)
        return positive_part(x) + 2 * s * artanh(s * s)

    return softplus_of_vector


@njit(forceinline=True)
def tanh_slope(y):
    return 1 - y * y


@njit(forceinline=True)
def sigmoid_slope(y):
    return y - y * y


@njit(forceinline=True)
def positive_part(x):
    return select(x < 0, 0, x)


@njit(forceinline=True)
def zero(x):
    return broadcast(x, 0)


REPLACEMENTS = {
    mathematics.exp: exp,
    mathematics.tanh: tanh,
    mathematics.sigmoid: sigmoid,
    mathematics.softplus: softplus,
    mathematics.tanh_slope: tanh_slope,
    mathematics.sigmoid_slope: sigmoid_slope,
    mathematics.positive_part: positive_part,
    mathematics.zero: zero,
    mathematics.sqrt: sqrt,
    mathematics.absolute: absolute,
    mathematics.select: select,
}
