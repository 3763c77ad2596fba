"""The CPU's exp, tanh, logistic function and softplus over the whole range of numbers."""

import numpy as np
import pytest
from numba import njit

from gpurnn.kernels.cpu import functions, simd

# Units in the last place, a little above the largest found. Of exp, tanh and sigmoid in float32
# that is 1.0, 1.9 and 1.99 over every bit pattern where they are not constant or linear.
MOST_ULPS = {
    "float32": {"exp": 1.1, "tanh": 2, "sigmoid": 2, "softplus": 3},
    "float64": {"exp": 1.1, "tanh": 2.5, "sigmoid": 2.5, "softplus": 3},
}


def logistic(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


EXACT = {
    "exp": np.exp,
    "tanh": np.tanh,
    "sigmoid": logistic,
    "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
}


def compute(name, x):
    function, lanes = getattr(functions, name), simd.lanes_of(x.dtype)

    @njit(error_model="numpy")
    def run(x, y):
        for i in range(0, x.size, lanes):
            simd.store(y, i, function(simd.load(x, i)))

    y = np.full_like(x, np.nan)
    run(x, y)
    return y


def numbers(dtype):
    """float32: every 1031st of all bit patterns; float64: numbers of several sizes.

    Both with the borders of overflow, of underflow and of denormal results among them.
    """
    if dtype == "float32":
        bits = np.arange(0, 2**32, 1031, np.uint64).astype(np.uint32)
        values = bits.view(np.float32)
    else:
        rng = np.random.default_rng(0)
        sizes = (1e-300, 1e-3, 0.3, 1, 10, 400)
        values = np.concatenate([rng.standard_normal(2**15) * size for size in sizes])
        values = np.concatenate([values, rng.uniform(-746, -708, 2**15)])
    tiny, top = np.finfo(dtype).smallest_subnormal, np.log(np.finfo(dtype).max)
    special = [np.inf, np.nan, 0, tiny, 1e-310, top, 88.8, 103.9, 104.1, 745, 745.2, 1e30]
    special = np.concatenate([special, np.nextafter(special, np.inf)]).astype(dtype)
    values = np.concatenate([values, special, -special])
    return np.resize(values, values.size // 16 * 16 + 16)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", list(EXACT))
def test_error_is_a_few_units_in_the_last_place(name, dtype):
    x = numbers(dtype)
    y = compute(name, x)
    with np.errstate(all="ignore"):
        exact = EXACT[name](x.astype(np.float64 if dtype == "float32" else np.longdouble))
        nearest = exact.astype(dtype)
        error = np.abs(y - exact) / np.spacing(np.abs(nearest)).astype(exact.dtype)
    finite = np.isfinite(nearest)
    np.testing.assert_array_equal(y[~finite], nearest[~finite])
    most = MOST_ULPS[dtype][name]
    assert error[finite].max() <= most, x[finite][error[finite].argmax()]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_stay_in_their_range_and_tanh_is_odd(dtype):
    x = numbers(dtype)
    x = x[~np.isnan(x)]
    x = np.resize(x, x.size // 16 * 16 + 16)
    y, s = compute("tanh", x), compute("sigmoid", x)
    assert np.abs(y).max() == 1
    assert s.min() == 0 and s.max() == 1
    np.testing.assert_array_equal(np.signbit(y), np.signbit(x))
    np.testing.assert_array_equal(compute("tanh", -x), -y)


@pytest.mark.parametrize("dtype, series", [("float32", "SERIES_32"), ("float64", "SERIES_64")])
def test_series_misses_growth_by_a_third_of_a_rounding(dtype, series):
    coefficients = np.array(getattr(functions, series), dtype).astype(np.longdouble)
    r = np.linspace(-np.log(2) / 2, np.log(2) / 2, 100_000, dtype=np.longdouble)
    growth = r + r * r * np.polynomial.polynomial.polyval(r, coefficients)
    relative = np.abs(growth / np.expm1(r) - 1).max()
    assert relative < 0.34 * np.finfo(dtype).eps / 2
