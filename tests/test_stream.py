"""Layers fed one step at a time."""

import numpy as np
import pytest

import gpurnn
from gpurnn.kernels.cpu import single_step, threads
from tests.cases import CELLS, Problem, as_parts, as_state, get, make_layer, put, random_numbers

ON = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]


@pytest.mark.parametrize("device", ON)
@pytest.mark.parametrize("cell", CELLS)
def test_steps_are_the_sequence(cell, device):
    problem = Problem(cell, T=4, B=5, I=9, H=21, num_layers=2, device=device)
    numbers = random_numbers(problem)
    layer = make_layer(problem, numbers.params)
    x, state = put(numbers.x, device), as_state(numbers.state, device)
    y, final = layer(x, state)
    stream = layer.stream(batch_size=5)
    stream.state = state
    for t in range(4):
        np.testing.assert_allclose(get(stream.step(x[t])), get(y[t]), rtol=2e-5, atol=2e-6)
    for part, expected in zip(as_parts(stream.state), as_parts(final), strict=True):
        np.testing.assert_allclose(part, expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("kind", [None, "bfloat16", "int8"])
@pytest.mark.parametrize("cell", CELLS)
def test_threads_share_the_units_of_large_steps(cell, kind, monkeypatch):
    """The bits are those of one thread; cells of two phases stay with one."""
    monkeypatch.setattr(threads, "SMALL", 1)
    frames, run = [], single_step.run_parallel
    monkeypatch.setattr(
        single_step, "run_parallel", lambda f, c: (frames.append(len(c)), run(f, c))
    )
    problem = Problem(cell, T=3, B=2, I=19, H=67)
    numbers, found = random_numbers(problem), {}
    layer = make_layer(problem, numbers.params)
    layer = layer.reduced(kind) if kind else layer
    before = gpurnn.get_num_threads()
    try:
        for count in (1, 3):
            gpurnn.set_num_threads(count)
            stream = layer.stream(batch_size=2)
            stream.state = as_state(numbers.state)
            found[count] = [stream.step(step) for step in numbers.x] + [*as_parts(stream.state)]
    finally:
        gpurnn.set_num_threads(before)
    assert frames == ([] if cell == "gru_before" else [3] * problem.T)
    for alone, shared in zip(found[1], found[3], strict=True):
        np.testing.assert_array_equal(shared, alone)


def test_a_stream_keeps_its_state_to_itself():
    layer = gpurnn.LSTM(3, 8, rng=0)
    x = np.ones((1, 3), np.float32)
    stream, other = layer.stream(), layer.stream()
    first = stream.step(x).copy()
    stream.step(x)
    np.testing.assert_array_equal(other.step(x), first)
    h, c = stream.state
    h[...] = 7  # a copy
    stream.state = None
    np.testing.assert_array_equal(stream.step(x), first)
    np.testing.assert_array_equal(h, 7)
    stream, h = gpurnn.GRU(3, 8, rng=0).stream(), np.zeros((1, 1, 8), np.float32)
    stream.state = h
    stream.step(x)
    np.testing.assert_array_equal(h, 0)


def test_it_follows_the_parameters():
    layer = gpurnn.GRU(3, 8, rng=0)
    stream, x = layer.stream(), np.ones((1, 3), np.float32)
    layer.load_state_dict(gpurnn.GRU(3, 8, rng=1).state_dict())
    np.testing.assert_array_equal(stream.step(x), gpurnn.GRU(3, 8, rng=1).stream().step(x))


def test_out_is_written_and_returned():
    stream = gpurnn.RNN(3, 4, rng=0).stream(2)
    out = np.full((2, 4), np.nan, np.float32)
    assert stream.step(np.ones((2, 3), np.float32), out=out) is out
    assert np.isfinite(out).all()


@pytest.mark.parametrize(
    "x,out,message",
    [
        (np.ones((2, 3), np.float32), None, r"x: expected \(1, 3\), got \(2, 3\)"),
        (np.ones(3, np.float32), None, r"x: expected \(1, 3\), got \(3,\)"),
        (np.ones((1, 3)), None, "x: expected float32, got float64"),
        (np.ones((1, 3), np.float32), np.ones((1, 3), np.float32), r"out: expected \(1, 4\)"),
        (np.ones((1, 3), np.float32), np.ones((1, 8), np.float32)[:, ::2], "out: expected a C-con"),
    ],
)
def test_bad_steps(x, out, message):
    with pytest.raises((TypeError, ValueError), match=message):
        gpurnn.LSTM(3, 4).stream().step(x, out=out)


def test_bad_streams():
    with pytest.raises(ValueError, match="stream: expected a layer of one direction"):
        gpurnn.LSTM(3, 4, bidirectional=True).stream()
    with pytest.raises(ValueError, match="batch_size: expected an integer of at least 1, got 0"):
        gpurnn.LSTM(3, 4).stream(0)
    stream = gpurnn.LSTM(3, 4).stream()
    with pytest.raises(TypeError, match="state: expected a tuple of 2 arrays"):
        stream.state = np.zeros((1, 1, 4), np.float32)
