"""`linear_scan` against a loop, its gradients against finite differences."""

import numpy as np
import pytest

import gpurnn
from gpurnn.arrays import to_device, to_numpy
from tests.cases import TOLERANCE
from tests.differences import assert_is_gradient

cuda = pytest.param("cuda", marks=pytest.mark.cuda)


def _loop(a, b, h, reverse):
    states = np.empty_like(b)
    for t in range(len(a))[:: -1 if reverse else 1]:
        states[t] = h = a[t] * h + b[t]
    return states


@pytest.mark.parametrize("device", ["cpu", cuda])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (17, 2, 16), (31, 1, 130), (1000, 3, 5)])
def test_is_the_loop(shape, dtype, device):
    rng = np.random.default_rng(1)
    a = rng.uniform(-1, 1, shape).astype(dtype)
    b, h0 = rng.standard_normal(shape).astype(dtype), rng.standard_normal(shape[1:]).astype(dtype)
    for reverse in (False, True):
        h, _ = gpurnn.linear_scan(*(to_device(v, device) for v in (a, b, h0)), reverse)
        want = _loop(np.float64(a), np.float64(b), np.float64(h0), reverse)
        np.testing.assert_allclose(to_numpy(h), want, rtol=0, atol=10 * TOLERANCE[dtype])


@pytest.mark.parametrize("device", ["cpu", cuda])
@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_are_those_of_finite_differences(reverse, device):
    rng = np.random.default_rng(2)
    a, b, weights = rng.uniform(-1, 1, (3, 37, 2, 2))
    h0 = rng.standard_normal((2, 2))
    on_device = [to_device(v, device) for v in (a, b, h0)]
    _, backward = gpurnn.linear_scan(*on_device, reverse)
    gradients = backward(to_device(weights, device))

    def loss():
        return (_loop(a, b, h0, reverse) * weights).sum()

    for gradient, array, name in zip(gradients, (a, b, h0), ("a", "b", "h0")):
        assert_is_gradient(to_numpy(gradient), loss, array, name)


def test_refuses_what_does_not_fit():
    a = np.ones((4, 2, 3), "float32")
    with pytest.raises(ValueError, match=r"b: expected \(4, 2, 3\), got \(4, 2, 2\)"):
        gpurnn.linear_scan(a, a[..., :2])
    with pytest.raises(ValueError, match=r"h0: expected \(2, 3\)"):
        gpurnn.linear_scan(a, a, a)
    with pytest.raises(TypeError, match="b: expected float32, got float64"):
        gpurnn.linear_scan(a, np.float64(a))
    with pytest.raises(TypeError, match="a: expected float32 or float64, got int64"):
        gpurnn.linear_scan(np.ones((4, 2, 3), np.int64), a)
    with pytest.raises(ValueError, match=r"a: expected \(T, B, H\)"):
        gpurnn.linear_scan(a[0], a[0])
    with pytest.raises(ValueError, match="dh: expected"):
        gpurnn.linear_scan(a, a)[1](a[:3])
