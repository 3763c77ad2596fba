"""Weights in bfloat16 and int8."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba import types

import gpurnn
from gpurnn.kernels.cpu.reduced import reduce_weights
from gpurnn.kernels.cpu.short_dots import has_short_dots

# Of the largest output: what the documentation tells.
LOSS = {"bfloat16": 0.005, "int8": 0.012}

# Sums of float32 in another order; but where the processor multiplies numbers of 16 bits, the
# inputs are rounded to so many: each by up to 2^-16 of the largest. Of up to 37 of them, with
# weights below 1/3, sums move by less than this.
CLOSE = {
    kind: {"rtol": 2e-5, "atol": 5e-5 if has_short_dots(dtype) else 2e-6}
    for kind, dtype in (("bfloat16", types.uint16), ("int8", types.int8))
}


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
    np.testing.assert_allclose(y, expected, **CLOSE[kind])
    np.testing.assert_allclose(np.asarray(state), np.asarray(final), **CLOSE[kind])
    exact = layer(x)[0]
    assert np.abs(y - exact).max() <= LOSS[kind] * np.abs(exact).max()
    stream = reduced.stream(B)
    np.testing.assert_allclose(stream.step(x[0]), y[0], **CLOSE[kind])


@pytest.mark.parametrize("kind", LOSS)
@pytest.mark.parametrize("size", [1, 31, 64, 20_000])
def test_sums_of_the_largest_numbers(size, kind):
    """All weights and inputs as large as they can be for 8 and 16 bits."""
    layer = gpurnn.RNN(size, 3, nonlinearity="relu", rng=0)
    for name, array in layer.params.items():
        array[...] = name == "weight_ih_l0"
    y, _ = layer.reduced(kind)(np.full((1, 1, size), 7, np.float32))
    np.testing.assert_allclose(y, 7 * size, rtol=1e-4)


@pytest.mark.parametrize("kind", LOSS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_comes_out(bad, kind):
    x = np.zeros((1, 1, 40), np.float32)
    x[0, 0, 33] = bad
    y, _ = gpurnn.RNN(40, 5, nonlinearity="relu", rng=0).reduced(kind)(x)
    assert not np.isfinite(y).all()


@pytest.mark.parametrize("kind", LOSS)
def test_nothing_comes_of_nothing(kind):
    layer = gpurnn.RNN(40, 5, bias=False, rng=0)
    np.testing.assert_array_equal(layer.reduced(kind)(np.zeros((2, 1, 40), np.float32))[0], 0)


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
    with pytest.raises(ValueError, match="reduced: expected a float32 layer, got float64"):
        gpurnn.LSTM(3, 4, dtype="float64").reduced()
    with pytest.raises(TypeError, match="forward: reduced weights are for inference"):
        layer.reduced().forward(np.zeros((1, 1, 3), np.float32))
    with pytest.raises(ValueError, match="device: expected 'cpu' for reduced weights, got 'cuda'"):
        layer.reduced().to("cuda")


@pytest.mark.parametrize("kind", LOSS)
def test_pickled_where_vectors_are_narrower(kind):
    """13 and 40 numbers fill other registers there."""
    program = f"""
import pickle, sys, gpurnn
pickle.dump(gpurnn.RNN(13, 40, rng=0).reduced("{kind}"), sys.stdout.buffer)"""
    environment = {**os.environ, "GPURNN_VECTOR_BYTES": "16"}
    root = Path(__file__).parent.parent
    dumped = subprocess.check_output(
        [sys.executable, "-c", program], cwd=root, env=environment, timeout=300
    )
    x = np.random.default_rng(0).standard_normal((3, 1, 13), np.float32)
    y, _ = gpurnn.RNN(13, 40, rng=0).reduced(kind)(x)
    np.testing.assert_array_equal(pickle.loads(dumped)(x)[0], y)
