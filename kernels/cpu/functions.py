"""exp, tanh and the logistic function on SIMD vectors, correctly shaped over the whole range.

LLVM has no vector versions of these without a vendor's library. All three rest on one argument
reduction: x = n ln 2 + r with |r| ≤ ln 2 / 2, and e^r - 1 = r + r² q(r) with a polynomial q.

They are short because a recurrent step consists of them: a unit of an LSTM has five, and waits
for each. A comment "unit" means half a unit in the last place of 1, the largest relative error
of one rounding.
"""

import math

import numpy as np
from numba import types
from numba.extending import overload

from .. import mathematics
from .compiling import inlined
from .simd import (
    Vector,
    absolute,
    broadcast,
    fma,
    polynomial,
    power_of_two,
    select,
    split_power_of_two,
    sqrt,
    with_sign_of,
)

# q: of least relative error of r + r² q(r) against e^r - 1 on |r| ≤ ln 2 / 2, by Remez exchange
# in 200 bits, then rounded to the format (float32: one coefficient after the other, the rest
# fitted anew each time). The error is 0.01 (float32) and 0.31 units (float64). One term less would
# do for float32 but for the logistic function, whose error it would lift above 2 last places.
SERIES_32 = (
    0.5,
    0.16666666,
    0.041666493,
    0.008333548,
    0.0013932309,
    0.00019760191,
)
SERIES_64 = (
    0.5000000000000006,
    0.16666666666666588,
    0.04166666666657665,
    0.008333333333389594,
    0.0013888888931601546,
    0.00019841269718955573,
    2.480150522694501e-05,
    2.7557407543980063e-06,
    2.762605749302541e-07,
    2.5053791053708387e-08,
)


class _Format:
    """The constants of the argument reduction for one floating-point format."""

    def __init__(self, dtype, series, ln2_low, lowest, highest, saturated):
        info = np.finfo(dtype)
        self.round = 1.5 * 2.0**info.nmant  # added, it leaves a rounded integer in the low bits
        self.bias = int(info.maxexp) - 1
        self.series = polynomial(series)
        self.ln2_high, self.ln2_low = float(dtype(math.log(2))), ln2_low
        self.lowest, self.highest = lowest, highest  # beyond, exp is 0 or infinite
        self.saturated = saturated  # beyond ± it the logistic of x, and tanh of x / 2, round to ±1


_FORMATS = {
    types.float32: _Format(np.float32, SERIES_32, -1.904654299957768e-09, -104.0, 89.0, 20.0),
    types.float64: _Format(np.float64, SERIES_64, 2.3190468138462996e-17, -746.0, 710.0, 40.0),
}


@inlined
def _clamp(x, lowest, highest):
    x = select(x < lowest, lowest, x)  # in this order NaN stays NaN
    return select(x > highest, highest, x)


def _reduce(x, origin):
    """n + origin, n, and x - n times ln 2 rounded to the format, for the n that makes it small."""


@overload(_reduce)
def _overload_reduce(x, origin):
    if not isinstance(x, Vector):
        return None
    high, per_ln2 = -_FORMATS[x.element].ln2_high, 1 / math.log(2)

    def reduce(x, origin):
        shifted = fma(x, per_ln2, origin)
        n = shifted - origin
        return shifted, n, fma(n, high, x)

    return reduce


def _growth(r):
    """e^r - 1 for |r| ≤ ln 2 / 2."""


@overload(_growth)
def _overload_growth(r):
    if not isinstance(r, Vector):
        return None
    series = _FORMATS[r.element].series
    return lambda r: fma(r * r, series(r), r)


def exp(x):
    """e to the power x: 0 and infinity out of range, gradual underflow, NaN for NaN."""


@overload(exp)
def _overload_exp(x):
    if not isinstance(x, Vector):
        return None
    constants = _FORMATS[x.element]
    lowest, highest, low = constants.lowest, constants.highest, -constants.ln2_low
    origin = constants.round + 2 * constants.bias

    def exp_of_vector(x):
        shifted, n, r = _reduce(_clamp(x, lowest, highest), origin)
        growth = _growth(fma(n, low, r))
        first, second = split_power_of_two(shifted)
        return fma(growth, first, first) * second

    return exp_of_vector


# The logistic function is e / (1 + e), computed as (u e) / (u + u e). A factor 2^64 or 2^512 in u
# keeps e normal where it underflows, so that the division alone underflows, and gradually.
# A second factor 3/2 is for precision. The result has its largest errors, counted in its
# last places, just below a power of two, 1/2^k: there e = 1 / (2^k - 1), and u e and u + u e have
# both the leading digits of u 2^k / (2^k - 1). Roundings hurt least if those are far above 1:
# for this u they are at least 1.5, for u = 1 they would be just above 1. Of the factors near it
# this has the smallest error over all float32.
_LOGISTIC_FACTOR = 3 / 2


def sigmoid(x):
    """1 / (1 + e^-x), with gradual underflow."""


@overload(sigmoid)
def _overload_sigmoid(x):
    if not isinstance(x, Vector):
        return None
    constants = _FORMATS[x.element]
    lowest, highest, low = constants.lowest, constants.saturated, -constants.ln2_low
    origin = constants.round + constants.bias
    unit = _LOGISTIC_FACTOR * 2.0 ** ((constants.bias + 1) // 2)

    def sigmoid_of_vector(x):
        shifted, n, r = _reduce(_clamp(x, lowest, highest), origin)
        power = power_of_two(shifted, unit)
        e = fma(_growth(fma(n, low, r)), power, power)
        return e / (e + unit)

    return sigmoid_of_vector


def tanh(x):
    """Hyperbolic tangent."""


@overload(tanh)
def _overload_tanh(x):
    """(1 - e) / (1 + e) with e = e^-2|x|; 1 - e from e^r - 1, so that nothing cancels.

    e^-2|x| rather than e^2x, since numerator and denominator are then least sensitive to their
    roundings where the result is most. ln 2 rounded suffices: n is small where e matters.
    """
    if not isinstance(x, Vector):
        return None
    constants = _FORMATS[x.element]
    lowest, origin = -constants.saturated, constants.round + constants.bias

    def tanh_of_vector(x):
        y = -absolute(x + x)
        y = select(y < lowest, lowest, y)
        shifted, n, r = _reduce(y, origin)
        growth, power = _growth(r), power_of_two(shifted, 1)
        size = fma(-growth, power, 1 - power) / fma(growth, power, 1 + power)
        return with_sign_of(size, x)

    return tanh_of_vector


# log(1 + e) = 2 artanh s = 2 s + 2 s³ (1/3 + s²/5 + ...) with s = e / (2 + e); for 0 ≤ e ≤ 1 that
# is at most 1/3, and the series in its square loses a factor of 9 a term.
_ARTANH = {
    types.float32: polynomial([1 / n for n in range(3, 18, 2)]),
    types.float64: polynomial([1 / n for n in range(3, 36, 2)]),
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
        twice, square = s + s, s * s
        return positive_part(x) + fma(twice * square, artanh(square), twice)

    return softplus_of_vector


@inlined
def complement(x):
    return 1 - x


@inlined
def tanh_slope(y):
    return 1 - y * y


@inlined
def sigmoid_slope(y):
    return y - y * y


@inlined
def positive_part(x):
    return select(x < 0, 0, x)


@inlined
def zero(x):
    return broadcast(x, 0)


@inlined
def constant(x, value):
    return broadcast(x, value)


REPLACEMENTS = {
    mathematics.exp: exp,
    mathematics.tanh: tanh,
    mathematics.sigmoid: sigmoid,
    mathematics.softplus: softplus,
    mathematics.complement: complement,
    mathematics.tanh_slope: tanh_slope,
    mathematics.sigmoid_slope: sigmoid_slope,
    mathematics.positive_part: positive_part,
    mathematics.zero: zero,
    mathematics.constant: constant,
    mathematics.sqrt: sqrt,
    mathematics.absolute: absolute,
    mathematics.select: select,
}
