"""Calls of a layer with a single step, whose memory is used again by the next."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import gpurnn
from tests.cases import as_parts

LAYERS = {
    "lstm": lambda: gpurnn.LSTM(3, 12, num_layers=2, rng=0),
    "gru before": lambda: gpurnn.GRU(3, 12, reset_after=False, rng=0),
    "heads": lambda: gpurnn.LSTM(3, 12, num_heads=2, rng=0),
    "projected": lambda: gpurnn.LSTM(3, 12, proj_size=5, rng=0),
    "normalised": lambda: gpurnn.LSTM(3, 12, layer_norm=True, rng=0),
    "recomputed": lambda: gpurnn.LSTM(3, 12, recompute=2, rng=0),
    "MinGRU": lambda: gpurnn.MinGRU(3, 12, rng=0),
    "no bias": lambda: gpurnn.GRU(3, 12, bias=False, rng=0),
    "noisy": lambda: gpurnn.LSTM(3, 12, zoneout=0.1, recurrent_dropout=0.2, rng=0),
    "peepholes": lambda: gpurnn.LSTM(3, 12, peepholes=True, rng=0),
}


def sequence(steps, batch):
    return np.random.default_rng(batch).standard_normal((steps, batch, 3), np.float32)


def step_by_step(layer, x):
    """All outputs, and the last state, of calls of one step each."""
    outputs, state = [], None
    for step in x:
        y, state = layer(step[None], state)
        outputs.append(y)
    return np.concatenate(outputs), state


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_calls_are_independent_of_each_other(make):
    layer, found = make(), {}
    for batch in (1, 5, 1, 2):
        found[batch] = step_by_step(layer, sequence(4, batch))
    for batch, (outputs, state) in found.items():
        y, final = layer(sequence(4, batch))
        np.testing.assert_allclose(outputs, y, rtol=2e-5, atol=2e-6)
        for part, expected in zip(as_parts(state), as_parts(final), strict=True):
            np.testing.assert_allclose(part, expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_a_copy_has_memory_of_its_own(make):
    check_independent_of(copy.deepcopy, make())


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_what_was_pickled_has_memory_of_its_own(make):
    check_independent_of(lambda layer: pickle.loads(pickle.dumps(layer)), make())


def check_independent_of(copied, layer):
    x = sequence(1, 1)
    y, state = layer(x)
    other = copied(layer)
    for value in other.params.values():
        value *= 2
    assert (other(x, state)[0] != layer(x, state)[0]).any()
    np.testing.assert_array_equal(layer(x)[0], y)


def test_many_threads_at_once():
    layer, x = LAYERS["lstm"](), sequence(50, 1)
    expected, _ = step_by_step(layer, x)
    with ThreadPoolExecutor(8) as pool:
        for y, _ in pool.map(lambda _: step_by_step(layer, x), range(64)):
            np.testing.assert_array_equal(y, expected)


def test_batch_first():
    x = sequence(1, 5).swapaxes(0, 1).copy()
    layer = gpurnn.LSTM(3, 12, batch_first=True, rng=0)
    expected, _ = gpurnn.LSTM(3, 12, rng=0)(x.swapaxes(0, 1).copy())
    for _ in range(2):
        np.testing.assert_array_equal(layer(x)[0], expected.swapaxes(0, 1))
    assert len(layer._idle_calls) == 1


@pytest.mark.parametrize(
    "wrong", [np.zeros((1, 2, 3)), np.zeros((1, 2, 4), np.float32), np.zeros((1, 3), np.float32), 7]
)
def test_every_call_is_checked(wrong):
    layer = gpurnn.RNN(3, 12, rng=0)
    layer(sequence(1, 2))
    with pytest.raises((TypeError, ValueError), match="x: expected"):
        layer(wrong)
    strided = sequence(1, 4)[:, ::2]
    np.testing.assert_array_equal(layer(strided)[0], layer(strided.copy())[0])


def test_parameters_that_are_replaced_are_checked_and_used():
    layer, x = gpurnn.RNN(3, 12, rng=0), sequence(1, 2)
    layer(x)
    layer.params["weight_hh_l0"] = layer.params["weight_hh_l0"].astype(np.float64)
    with pytest.raises(TypeError, match="weight_hh_l0"):
        layer(x)
    layer.params["weight_hh_l0"] = np.zeros((12, 12), np.float32)
    layer.params["bias_ih_l0"] = np.full(12, 9, np.float32)
    assert (layer(x)[0] > 0.9).all()


@pytest.mark.cuda
def test_a_layer_that_has_moved_takes_no_array_of_the_host():
    layer, x = gpurnn.RNN(3, 12, rng=0), sequence(1, 2)
    layer(x)
    layer.to("cuda")
    with pytest.raises(TypeError, match="x: expected a CuPy array"):
        layer(x)
