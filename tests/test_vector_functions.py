"""The CPU's exp, tanh, logistic function and softplus over the whole range of numbers."""

import numpy as np
import pytest
from numba import njit

from gpurnn.kernels.cpu import functions, simd

# Units in the last place. One more than half is lost in the reduction, the rest in the quotient.
MOST_ULPS = {"exp": 1.5, "tanh": 3, "sigmoid": 3, "softplus": 4}


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
    """float32: every 1031st of all bit patterns; float64: normal numbers of several sizes."""
    if dtype == "float32":
        bits = np.arange(0, 2**32, 1031, np.uint64).astype(np.uint32)
        values = bits.view(np.float32)
    else:
        rng = np.random.default_rng(0)
        values = np.concatenate(
            [rng.standard_normal(2**14) * s for s in (1e-300, 1e-3, 1, 10, 400)]
        )
    special = [
        np.inf,
        -np.inf,
        np.nan,
        0.0,
        -0.0,
        1e-310,
        -1e-310,
        88.8,
        -88.8,
        -103.9,
        745.0,
        -745.0,
    ]
    values = np.concatenate([values, np.array(special, dtype)])
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
    assert error[finite].max() <= MOST_ULPS[name], x[finite][error[finite].argmax()]
