"""The autotuner: what it times, chooses, remembers; by a clock that says what the test wants."""

from collections import Counter

import numpy as np
import pytest

import gpurnn
from tests.cases import Problem, make_layer, put, random_numbers

pytestmark = pytest.mark.cuda

PROBLEM = Problem("lstm", 3, 2, 4, 9, device="cuda")


@pytest.fixture
def store(monkeypatch):
    """In place of the disk: key -> bytes; and nothing known at first, nor afterwards."""
    from gpurnn.kernels.cuda import schedules, tuning

    kept = {}
    monkeypatch.setattr(tuning, "load_bytes", lambda target, key: kept.get(key))
    monkeypatch.setattr(tuning, "save_bytes", lambda target, key, data: kept.update({key: data}))
    forget(schedules)
    gpurnn.cuda.products("cublas")  # they are timed in test_cuda_products
    yield kept
    gpurnn.cuda.products("auto")
    gpurnn.cuda.autotune(False)
    gpurnn.cuda.schedule("auto")
    forget(schedules)


def forget(schedules):
    """Be as a new process is."""
    schedules._plans.cache_clear()
    schedules._ensure_timed.cache_clear()


@pytest.fixture
def clock(monkeypatch):
    """A Counter of the timed calls, by candidate; the candidate `clock.quickest` is quickest."""
    from gpurnn.kernels.cuda import tuning

    monkeypatch.setattr(tuning, "WARM_UP", 0)
    timed = Counter()
    timed.quickest = 0

    def seconds(call):
        call()
        candidate = timed.total() // tuning.ROUNDS
        timed[candidate] += 1
        return 1e-3 if candidate == timed.quickest else 2e-3

    monkeypatch.setattr(tuning, "seconds_on_device", seconds)
    return timed


def plans_of(problem, keep):
    """What is chosen for a layer's call."""
    from gpurnn.kernels.cuda import schedules

    cell = gpurnn.cells.LSTM
    dtype = np.dtype(problem.dtype)
    return schedules.plans_here(
        cell, problem.H, problem.B, problem.T, dtype, keep, problem.directions
    )


@pytest.mark.parametrize("quickest", [0, 2])
def test_quickest_is_run_and_remembered(quickest, store, clock):
    from gpurnn.kernels.cuda import schedules

    layer, x = make_layer(PROBLEM), put(random_numbers(PROBLEM).x, "cuda")
    expected = layer(x)[0].get()
    assert not clock, "off at first"
    clock.quickest = quickest
    assert gpurnn.cuda.autotune(True)
    y = layer(x)[0]
    calls = clock.total()
    assert calls and len(set(clock.values())) == 1, "each candidate as often as the others"
    np.testing.assert_allclose(y.get(), expected, rtol=0, atol=1e-6)
    chosen = plans_of(PROBLEM, keep=False)
    assert (chosen is None) == (quickest == 0)
    layer(x)
    assert clock.total() == calls, "once a shape"

    forget(schedules)
    gpurnn.cuda.autotune(False)
    assert plans_of(PROBLEM, keep=False) == chosen, "remembered by another process"
    assert clock.total() == calls
    shape = (gpurnn.cells.LSTM, PROBLEM.H, PROBLEM.B, PROBLEM.T, "float32", False)
    line = gpurnn.cuda.explain_schedule(*shape)
    assert "timed, 4 steps" in line
    assert ("stepwise 1000.0 µs" if quickest == 0 else "stepwise 2000.0 µs") in line
    for forced, persistent in (("stepwise", False), ("persistent", True)):
        gpurnn.cuda.schedule(forced)
        assert (plans_of(PROBLEM, keep=False) is not None) == persistent, "forcing goes first"


def check_training_is_timed_and_right(problem):
    """Outputs and gradients do not depend on whether schedules are timed."""
    numbers, results = random_numbers(problem), []
    layer = make_layer(problem, numbers.params)
    for on in (False, True):
        gpurnn.cuda.autotune(on)
        layer.zero_grads()
        y, _, backward = layer.forward(put(numbers.x, "cuda"))
        dx, _ = backward(put(numbers.dy, "cuda"))
        results.append([y.get(), dx.get(), *(g.get() for g in layer.grads.values())])
    for timed, direct in zip(*results):
        np.testing.assert_allclose(timed, direct, rtol=0, atol=1e-5)


def test_training_of_both_directions_is_timed_and_right(store, clock):
    problem = Problem("lstm", 3, 2, 4, 9, bidirectional=True, device="cuda")
    clock.quickest = 1
    check_training_is_timed_and_right(problem)
    assert clock.total() and len(store) == 1


@pytest.mark.parametrize("at_once", [1, 2])
def test_layers_at_once_are_timed_and_right(at_once, store, clock):
    """Candidates 0 to 3 are those of one layer; after them come the layers one by one."""
    problem = Problem("gru", 3, 2, 4, 9, num_layers=3, device="cuda")
    clock.quickest = 3 + at_once
    check_training_is_timed_and_right(problem)
    assert len(store) == 2
    line = gpurnn.cuda.explain_schedule(gpurnn.cells.GRU_RESET_AFTER, 9, 2, 3, num_layers=3)
    expected = {1: "one layer after the other (timed", 2: "persistent 2 layers at once"}
    assert line.startswith(expected[at_once])


def test_nothing_is_timed_in_a_callers_graph(store, clock):
    import cupy

    layer, x = make_layer(PROBLEM), put(random_numbers(PROBLEM).x, "cuda")
    layer(x)
    gpurnn.cuda.autotune(True)
    with cupy.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        layer(x)
        stream.end_capture()
    assert not clock and not store


def test_outcomes_on_disk(tmp_path, monkeypatch):
    from gpurnn.kernels.cuda import schedules, tuning
    from gpurnn.kernels.cuda.choosing import candidates

    monkeypatch.setenv("GPURNN_CACHE_DIR", str(tmp_path))
    device = schedules.device_here(0)
    problem = tuning.Problem(gpurnn.cells.LSTM, 64, 4, 100, np.dtype("float32"), True, 1, 1, 1)
    found = candidates(*problem[:-3], device)
    assert tuning.remembered(problem, device) is None
    outcome = tuning.tune(problem, found, device, lambda plans: None)
    assert set(outcome.seconds) == set(map(tuning.describe, found)) and len(found) == 4
    assert tuning.remembered(problem, device) == outcome
    assert tuning.remembered(problem._replace(steps=65), device) == outcome, "128 stand for both"
    for other in ({"steps": 64}, {"batch": 5}, {"dtype": np.dtype("float64")}, {"keep": False}):
        assert tuning.remembered(problem._replace(**other), device) is None
    (file,) = tmp_path.glob("*.kernel")
    file.write_bytes(b"damaged")
    assert tuning.remembered(problem, device) is None
