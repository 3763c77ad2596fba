"""Weights in bfloat16 and int8."""

import numpy as np
import pytest

import gpurnn
from gpurnn.kernels.cpu.reduced import reduce_weights

# Of the largest output: what the documentation tells.
LOSS = {"bfloat16": 0.005, "int8": 0.012}


def expanded(layer, kind):
    """A plain layer with the values that the reduced weights stand for."""
    other = type(layer)(layer.input_size, layer.hidden_size, layer.num_layers, rng=0)
    for name, array in layer.params.items():
        if name.startswith("weight"):
            array = reduce_weights((array, array, None, None), kind).expanded()[0]
        other.params[name][...] = array
    return other


@pytest.mark.parametrize("kind", LOSS)
@pytest.mark.parametrize("T,B", [(3, 1), (20, 2), (5, 8)], ids=["as they lie", "packed", "batch"])
@pytest.mark.parametrize("make", [gpurnn.LSTM, gpurnn.GRU, gpurnn.RNN])
def test_same_as_the_values_they_stand_for(make, T, B, kind):
    layer = make(13, 37, num_layers=2, rng=3)
    x = np.random.default_rng(0).standard_normal((T, B, 13)).astype(np.float32)
    reduced = layer.reduced(kind)
    y, state = reduced(x)
    expected, final = expanded(layer, kind)(x)
    np.testing.assert_allclose(y, expected, rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose(np.asarray(state), np.asarray(final), rtol=2e-5, atol=2e-6)
    exact = layer(x)[0]
    assert np.abs(y - exact).max() <= LOSS[kind] * np.abs(exact).max()
    stream = reduced.stream(B)
    np.testing.assert_allclose(stream.step(x[0]), y[0], rtol=2e-5, atol=2e-6)


def test_a_copy_does_not_follow_the_layer():
    layer, x = gpurnn.LSTM(3, 8, rng=0), np.ones((2, 1, 3), np.float32)
    reduced = layer.reduced()
    before = reduced(x)[0]
    for array in layer.params.values():
        array += 1
    np.testing.assert_array_equal(reduced(x)[0], before)


def test_rounding():
    w = np.array([[1, 1 + 2**-9, 1 + 3 * 2**-9, -3.3e38, 1e-45, 0.0]], np.float32)
    back = reduce_weights((w, w, None, None), "bfloat16").expanded()[0]
    np.testing.assert_array_equal(back[0, :3], np.float32([1, 1, 1 + 2**-7]))  # ties to even
    assert (np.abs(back - w) <= 2.0**-8 * np.abs(w) + 1e-38).all()
    back = reduce_weights((w[:, :3], w[:, :3], None, None), "int8").expanded()[0]
    assert np.abs(back - w[:, :3]).max() <= w[0, 2] / 254 * (1 + 1e-6)
    nothing = np.zeros((2, 3), np.float32)
    back = reduce_weights((nothing, nothing, None, None), "int8").expanded()[0]
    np.testing.assert_array_equal(back, nothing)


def test_bad_use():
    layer = gpurnn.LSTM(3, 4)
    with pytest.raises(ValueError, match="kind: expected one of 'bfloat16', 'int8', got 'int4'"):
        layer.reduced("int4")
    with pytest.raises(ValueError, match="reduced: expected a float32 layer on 'cpu', got float64"):
        gpurnn.LSTM(3, 4, dtype="float64").reduced()
    with pytest.raises(TypeError, match="forward: reduced weights are for inference"):
        layer.reduced().forward(np.zeros((1, 1, 3), np.float32))
    with pytest.raises(ValueError, match="device: expected 'cpu' for reduced weights, got 'cuda'"):
        layer.reduced().to("cuda")
