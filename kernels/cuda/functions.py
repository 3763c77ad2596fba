"""The elementary functions of cells on CUDA: libdevice's, in the precision of the argument."""

import math

from .. import mathematics
from .device import inlined


@inlined
def exp(x):
    return math.exp(x)


@inlined
def tanh(x):
    return math.tanh(x)


@inlined
def sigmoid(x):
    one = type(x)(1)
    e = math.exp(-abs(x))
    return (e if x < type(x)(0) else one) / (one + e)


@inlined
def softplus(x):
    zero = type(x)(0)
    return math.log1p(math.exp(-abs(x))) + (x if x > zero else zero)


@inlined
def complement(x):
    return type(x)(1) - x


@inlined
def tanh_slope(y):
    return type(y)(1) - y * y


@inlined
def sigmoid_slope(y):
    return y - y * y


@inlined
def positive_part(x):
    zero = type(x)(0)
    return zero if x < zero else x


@inlined
def zero(x):
    return type(x)(0)


@inlined
def constant(x, value):
    return type(x)(value)


@inlined
def sqrt(x):
    return math.sqrt(x)


@inlined
def absolute(x):
    return abs(x)


@inlined
def select(condition, a, b):
    return a if condition else b


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
