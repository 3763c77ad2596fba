"""The elementary functions that cell mathematics and maps may use, in plain Python.

What stands here works on Python floats and NumPy arrays and is what a reader, a test or a
debugger runs. When a kernel is compiled, `specialise` puts the device's own function in place
of each: polynomials on whole SIMD vectors on the CPU, libdevice on CUDA.

Formulas written with these need no literal numbers. That matters: to Numba ``1.0 - z`` is a
float64 expression even where ``z`` is float32, and float64 is 32 to 64 times slower on most GPUs.
"""

import numpy as np


def exp(x):
    """e to the power x."""
    return np.exp(x)


def tanh(x):
    """Hyperbolic tangent."""
    return np.tanh(x)


def sigmoid(x):
    """Logistic function 1 / (1 + exp(-x))."""
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def softplus(x):
    """log(1 + e^x)."""
    return np.logaddexp(0, x)


def complement(x):
    """1 - x."""
    return 1 - x


def tanh_slope(y):
    """Derivative of tanh where its value is `y`: 1 - y²."""
    return 1 - y * y


def sigmoid_slope(y):
    """Derivative of the logistic function where its value is `y`: y (1 - y)."""
    return y - y * y


def positive_part(x):
    """max(x, 0), and NaN where x is NaN."""
    return np.where(x < 0, 0, x)


def zero(x):
    """0, of the kind of `x`."""
    return np.zeros_like(x)


def constant(x, value):
    """The number `value`, of the kind of `x`: how a literal is written in a formula."""
    return np.full_like(x, value)


def sqrt(x):
    """Square root."""
    return np.sqrt(x)


def absolute(x):
    """|x|."""
    return np.abs(x)


def select(condition, a, b):
    """`a` where the condition holds, `b` elsewhere."""
    return np.where(condition, a, b)
