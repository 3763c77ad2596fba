"""Training that keeps a few states only, and runs the rest again."""

import tracemalloc

import numpy as np
import pytest

import gpurnn
from tests.cases import CELLS, Problem, as_parts, as_state, get, make_layer, put, random_numbers

ON = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]


@pytest.mark.parametrize("device", ON)
@pytest.mark.parametrize("cell", CELLS)
def test_same_gradients(cell, device):
    """11 steps by 4: segments of unequal length, some of which some sequences do not reach."""
    problem = Problem(
        cell, T=11, B=5, H=9, num_layers=2, bidirectional=True, ragged=True, device=device
    )
    numbers, results = random_numbers(problem), []
    for recompute in (None, 4, 100):
        layer = make_layer(problem, numbers.params, recompute=recompute)
        initial = as_state(numbers.state, device)
        y, state, backward = layer.forward(put(numbers.x, device), initial, numbers.lengths)
        dx, dstate = backward(put(numbers.dy, device), as_state(numbers.dstate, device))
        results.append(
            [get(y), *as_parts(state), get(dx), *as_parts(dstate), *map(get, layer.grads.values())]
        )
    for other in results[1:]:
        for got, expected in zip(other, results[0], strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_a_long_sequence_trains_in_little_memory():
    T, H = 20_000, 64
    x = np.random.default_rng(0).standard_normal((T, 1, 1)).astype(np.float32)
    peaks = {}
    for recompute in (None, 150):
        layer = gpurnn.LSTM(1, H, recompute=recompute, rng=0)
        layer.forward(x[:200])[2](np.zeros((200, 1, H), np.float32))  # compiles
        tracemalloc.start()
        y, _, backward = layer.forward(x)
        backward(y)
        peaks[recompute] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    output = T * H * 4
    assert peaks[None] > 9 * output  # six numbers a unit and step kept, and four gradients
    assert peaks[150] < 2.5 * output


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "4", True])
def test_bad_values(wrong):
    with pytest.raises(ValueError, match="recompute: expected an integer of at least 1"):
        gpurnn.LSTM(3, 4, recompute=wrong)
