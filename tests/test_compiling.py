"""Kernels are compiled whole, their parts only as pieces of them."""

import numpy as np
import pytest

from gpurnn.kernels.cpu.compiling import kernel, part


@part
def _half(x):
    return x / 2


@kernel("test_compiling")
def _halve(x):
    for i in range(x.size):
        x[i] = _half(x[i])


def test_a_part_runs_in_a_kernel_only():
    x = np.arange(3.0)
    _halve(x)
    np.testing.assert_array_equal(x, [0, 0.5, 1])
    with pytest.raises(TypeError, match="not callable"):
        _half(3.0)
