"""Linear and Embedding against plain NumPy, on every device."""

import numpy as np
import pytest

import gpurnn
from tests.cases import assert_close, get, put

DTYPES = ("float32", "float64")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1,), (5, 33), (17, 3, 28)], ids=str)
def test_linear(shape, bias, dtype, device):
    rng = np.random.default_rng(1)
    layer = gpurnn.Linear(shape[-1], 9, bias=bias, dtype=dtype, device=device, rng=1)
    w = rng.standard_normal((9, shape[-1])).astype(dtype)
    b = rng.standard_normal(9).astype(dtype)
    layer.load_state_dict({"weight": w, "bias": b} if bias else {"weight": w})
    x = rng.standard_normal(shape).astype(dtype)
    dy = rng.standard_normal((*shape[:-1], 9)).astype(dtype)

    y, backward = layer.forward(put(x, device))
    w64, x64, dy64 = (a.astype("float64") for a in (w, x, dy))
    expected = x64 @ w64.T + (b if bias else 0)
    assert_close(y, expected, dtype, "y")
    assert_close(layer(put(x, device)), expected, dtype, "inferred y")

    rows, drows = x64.reshape(-1, shape[-1]), dy64.reshape(-1, 9)
    for times in (1, 2):
        assert_close(backward(put(dy, device)), dy64 @ w64, dtype, "dx")
        assert_close(layer.grads["weight"], times * drows.T @ rows, dtype, "dweight")
        if bias:
            assert_close(layer.grads["bias"], times * drows.sum(0), dtype, "dbias")
    assert set(layer.grads) == set(layer.params) == ({"weight", "bias"} if bias else {"weight"})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (5,), (17, 3)], ids=str)
def test_embedding(shape, dtype, device):
    rng = np.random.default_rng(1)
    layer = gpurnn.Embedding(7, 33, dtype=dtype, device=device, rng=1)
    weight = layer.state_dict()["weight"]
    assert weight.shape == (7, 33) and np.std(weight) > 0
    indices = rng.integers(0, 7, shape)
    dy = rng.standard_normal((*shape, 33)).astype(dtype)

    y, backward = layer.forward(put(indices, device))
    np.testing.assert_array_equal(get(y), weight[indices])
    np.testing.assert_array_equal(get(layer(put(indices, device))), weight[indices])
    expected = np.zeros((7, 33))
    np.add.at(expected, indices, dy)
    for times in (1, 2):
        assert backward(put(dy, device)) is None
        assert_close(layer.grads["weight"], times * expected, dtype, "dweight")


def test_embedding_sums_repeats(device):
    """One row, very often: the order of summing must not cost the digits, nor repeat a race."""
    layer = gpurnn.Embedding(3, 4, device=device, rng=1)
    dy = np.random.default_rng(1).standard_normal((500, 4)).astype("float32")
    layer.forward(put(np.full(500, 2), device))[1](put(dy, device))
    expected = np.zeros((3, 4))
    expected[2] = dy.astype("float64").sum(0)
    assert_close(layer.grads["weight"], expected, "float32", "dweight")


def test_linear_refuses():
    layer = gpurnn.Linear(3, 2)
    good = np.zeros((4, 3), "float32")
    with pytest.raises(ValueError, match=r"^x\b.*\(4, 2\)"):
        layer(good[:, :2])
    with pytest.raises(TypeError, match=r"^x\b.*float64"):
        layer(good.astype("float64"))
    with pytest.raises(ValueError, match=r"^dy\b.*\(3, 2\)"):
        layer.forward(good)[1](np.zeros((3, 2), "float32"))
    assert np.all(layer.grads["weight"] == 0)
    for bad in ((0, 2), (2, 0), (-1, 2)):
        with pytest.raises(ValueError, match="_features"):
            gpurnn.Linear(*bad)


def test_embedding_refuses(device):
    layer = gpurnn.Embedding(3, 2, device=device)
    with pytest.raises(TypeError, match=r"^indices\b.*float32"):
        layer(put(np.zeros(4, "float32"), device))
    for index in (3, -1):
        if device == "cuda":  # would have to wait for the device to find out
            y = get(layer(put(np.array([0, index]), device)))
            assert np.isfinite(y[0]).all() and np.isnan(y[1]).all()
            continue
        with pytest.raises(ValueError, match=rf"^indices\b.*{index}"):
            layer(put(np.array([0, index]), device))
    with pytest.raises(ValueError, match=r"^dy\b"):
        layer.forward(put(np.array([0, 1]), device))[1](put(np.zeros((2, 3), "float32"), device))
    assert np.all(get(layer.grads["weight"]) == 0)
    for bad, named in (((0, 2), "num_embeddings"), ((2, 0), "embedding_dim")):
        with pytest.raises(ValueError, match=named):
            gpurnn.Embedding(*bad)
