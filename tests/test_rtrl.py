"""Learning forward in time, held against back-propagation and a plain NumPy version."""

import tracemalloc

import numpy as np
import pytest

import gpurnn
from gpurnn.kernels.mathematics import tanh, tanh_slope
from tests import reference_rtrl
from tests.cases import (
    CELLS,
    Problem,
    as_state,
    assert_close,
    assert_grads_close,
    get,
    make_layer,
    put,
    random_numbers,
)

LOCAL = ("snap1", "rflo")
# Sizes that fit no vector; float32 once on each device, since kernels take long to compile.
ON_CPU = [
    Problem(cell, 5, 3, 4, 6, bias=bias, dtype="float64")
    for cell in CELLS
    for bias in (True, False)
] + [Problem("gru", 6, 2, 9, 35), Problem("gru", 1, 1, 1, 1, dtype="float64")]
ON_CUDA = [
    Problem("rnn_tanh", 4, 2, 3, 5, dtype="float64", device="cuda"),
    Problem("lstm", 4, 2, 3, 5, dtype="float64", device="cuda"),
    Problem("gru", 4, 2, 3, 33, bias=False, device="cuda"),
    Problem("gru_before", 4, 2, 3, 5, dtype="float64", device="cuda"),
]
MARKED_CUDA = [pytest.param(p, marks=pytest.mark.cuda, id=str(p)) for p in ON_CUDA]
EVERYWHERE = [pytest.param(p, id=str(p)) for p in ON_CPU] + MARKED_CUDA


def learn_online(layer, method, numbers, device, **options):
    """A layer's RTRL after the whole sequence, and the outputs (T, B, H)."""
    steps, batch = numbers.x.shape[:2]
    rtrl = gpurnn.RTRL(layer, batch, method, **options)
    rtrl.reset(as_state(numbers.state, device))
    outputs = []
    for t in range(steps):
        outputs.append(get(rtrl.step(put(numbers.x[t], device))))
        rtrl.learn(put(numbers.dy[t], device))
    return rtrl, np.array(outputs)


@pytest.mark.parametrize("problem", EVERYWHERE)
def test_exact_equals_back_propagation_through_time(problem):
    numbers, device = random_numbers(problem), problem.device
    layer = make_layer(problem, numbers.params)
    if problem.dtype == "float64":
        back = make_layer(problem, numbers.params)
        y, _, backward = back.forward(put(numbers.x, device), as_state(numbers.state, device))
        backward(put(numbers.dy, device))
        y, expected = get(y), {name: get(gradient) for name, gradient in back.grads.items()}
    else:
        numbers.dstate = tuple(np.zeros_like(part) for part in numbers.dstate)
        y, _, _, _, expected = numbers.reference(problem)
    _, outputs = learn_online(layer, "exact", numbers, device)
    assert_close(outputs, y, problem.dtype, "y")
    assert_grads_close(layer, expected, problem.dtype)


def test_reset_begins_anew():
    problem = Problem("lstm", 3, 2, 2, 3, dtype="float64")
    numbers, layer = random_numbers(problem), make_layer(problem)
    for method in ("exact", "snap1", "rflo", "uoro"):
        rtrl, found = gpurnn.RTRL(layer, 2, method), []
        for _ in range(2):
            layer.zero_grads()
            rtrl.reset(as_state(numbers.state))
            rtrl._influence._rng = np.random.default_rng(0)
            for x, dy in zip(numbers.x, numbers.dy):
                rtrl.step(x)
                rtrl.learn(dy)
            found.append({name: gradient.copy() for name, gradient in layer.grads.items()})
        for name, gradient in found[0].items():
            assert np.array_equal(found[1][name], gradient), (method, name)


@pytest.mark.parametrize("method", LOCAL)
@pytest.mark.parametrize("problem", [p for p in EVERYWHERE if p.values[0].cell != "gru_before"])
def test_local_methods(problem, method):
    numbers = random_numbers(problem)
    layer = make_layer(problem, numbers.params)
    learn_online(layer, method, numbers, problem.device)
    expected = reference_rtrl.gradients(
        problem.reference_cell, numbers.params, numbers.x, numbers.state, numbers.dy, method
    )
    assert_grads_close(layer, expected, problem.dtype)


def test_the_reference_is_exact_where_it_says_so():
    problem = Problem("lstm", 5, 2, 3, 4, dtype="float64")
    numbers = random_numbers(problem)
    numbers.dstate = tuple(np.zeros_like(part) for part in numbers.dstate)
    found = reference_rtrl.gradients(
        problem.reference_cell, numbers.params, numbers.x, numbers.state, numbers.dy, "exact"
    )
    *_, expected = numbers.reference(problem)
    for name, value in expected.items():
        assert_close(found[name], value, "float64", name)


@pytest.mark.parametrize("cell", ["rnn_tanh", "lstm", "gru", "gru_before"])
def test_uoro_is_unbiased(cell):
    """Many random signs, one sequence: the mean is the exact gradient, within its own error.

    Of GROUPS estimates, each the mean over a batch of COPIES of the sequence, the mean has a
    standard error that they tell themselves. Beyond 5 of these errors lie 4e-5 of Student's
    distribution with 24 degrees of freedom, times fewer than 100 parameters; and what is to be
    told apart, the gradient without any recurrent influence, lies further off.
    """
    GROUPS, COPIES = 25, 2000
    problem = Problem(cell, 4, 1, 2, 3, dtype="float64", seed=3)
    numbers = random_numbers(problem)
    exact = make_layer(problem, numbers.params)
    learn_online(exact, "exact", numbers, "cpu")
    numbers.x, numbers.dy = (np.repeat(a, COPIES, 1) for a in (numbers.x, numbers.dy / COPIES))
    numbers.state = tuple(np.repeat(part, COPIES, 1) for part in numbers.state)
    estimates = []
    for seed in range(GROUPS):
        layer = make_layer(problem, numbers.params)
        learn_online(layer, "uoro", numbers, "cpu", rng=seed)
        estimates.append(np.concatenate([g.ravel() for g in layer.grads.values()]))
    expected = np.concatenate([g.ravel() for g in exact.grads.values()])
    error = np.std(estimates, axis=0, ddof=1) / np.sqrt(GROUPS)
    distance = np.abs(np.mean(estimates, axis=0) - expected)
    assert np.all(distance <= 5 * error + 1e-12)

    if cell != "gru_before":
        local = make_layer(problem, numbers.params)
        learn_online(local, "rflo", numbers, "cpu")
        other = np.concatenate([g.ravel() for g in local.grads.values()])
        assert np.any(np.abs(other - expected) > 5 * error)


@pytest.mark.cuda
@pytest.mark.parametrize("cell", ["lstm", "gru_before"])
def test_uoro_is_the_same_on_both_devices(cell):
    grads = {}
    for device in ("cpu", "cuda"):
        problem = Problem(cell, 4, 2, 3, 5, dtype="float64", device=device)
        layer = make_layer(problem, random_numbers(problem).params)
        learn_online(layer, "uoro", random_numbers(problem), device, rng=7)
        grads[device] = {name: get(g) for name, g in layer.grads.items()}
    for name, value in grads["cpu"].items():
        assert_close(grads["cuda"][name], value, "float64", name)


def forward_leaky(x, h, state):
    """h' = v + (tanh - v)², v' = h: no sense, but every derivative differs from 0."""
    squashed = tanh(x[0] + h[0])
    square = (squashed - state[1]) * (squashed - state[1])
    return (state[1] + square, state[0]), (squashed,)


def backward_leaky(saved, state, new, dnew):
    difference = saved[0] - state[1]
    through = dnew[0] * (difference + difference)
    da = through * tanh_slope(saved[0])
    return (da,), (da,), (dnew[1], dnew[0] - through)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_a_cell_of_ones_own(device):
    """Two states, each leading to the other: the derivatives come from the cell's text alone."""
    cell = gpurnn.cells.Cell("leaky", 1, 2, 1, forward_leaky, backward_leaky)
    rng = np.random.default_rng(4)
    x, dy = rng.standard_normal((5, 2, 3)), rng.standard_normal((5, 2, 4))
    layers = [gpurnn.Recurrent(cell, 3, 4, dtype="float64", device=device, rng=2) for _ in range(2)]
    rtrl = gpurnn.RTRL(layers[0], 2)
    for t in range(5):
        rtrl.step(put(x[t], device))
        rtrl.learn(put(dy[t], device))
    _, state, backward = layers[1].forward(put(x, device))
    backward(put(dy, device))
    assert_grads_close(layers[0], {n: get(g) for n, g in layers[1].grads.items()}, "float64")
    for part, expected in zip(rtrl.state, state):
        assert_close(part, get(expected), "float64", "state")


def test_parameters_may_change_between_steps():
    """A step takes the parameters as they are then."""
    layer = gpurnn.GRU(2, 3, dtype="float64", rng=0)
    rtrl = gpurnn.RTRL(layer, 1)
    x = np.ones((1, 2))
    rtrl.step(x)
    h = rtrl.state
    layer.params["weight_hh_l0"] *= 2
    assert_close(rtrl.step(x), layer(x[None], h)[0][0], "float64", "y")


def test_memory_does_not_grow_with_time():
    """A hundred steps more need not one number more, a whole sequence's 100 states would show."""
    rtrl = gpurnn.RTRL(gpurnn.GRU(2, 3, dtype="float64", rng=0), 64)
    x, dy = np.ones((64, 2)), np.ones((64, 3))

    def run(steps):
        for _ in range(steps):
            rtrl.step(x)
            rtrl.learn(dy)

    run(3)
    tracemalloc.start()
    try:
        run(3)
        before = tracemalloc.get_traced_memory()[0]
        run(100)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < dy.nbytes * 10


def test_several_threads_compute_the_same():
    problem = Problem("lstm", 3, 3, 20, 40, dtype="float64")
    numbers, found = random_numbers(problem), []
    for method in ("exact", "snap1"):
        for threads in (1, 3):
            before = gpurnn.get_num_threads()
            gpurnn.set_num_threads(threads)
            try:
                layer = make_layer(problem, numbers.params)
                learn_online(layer, method, numbers, "cpu")
            finally:
                gpurnn.set_num_threads(before)
            found.append(layer.grads)
        for name in found[-1]:
            assert np.array_equal(found[-1][name], found[-2][name]), (method, name)


def test_bad_input():
    layer = gpurnn.LSTM(3, 4)
    with pytest.raises(TypeError, match="layer: expected a recurrent layer, got Linear"):
        gpurnn.RTRL(gpurnn.Linear(3, 4), 2)
    with pytest.raises(ValueError, match="layer: expected one layer .* got 2 layers"):
        gpurnn.RTRL(gpurnn.LSTM(3, 4, 2), 2)
    with pytest.raises(ValueError, match="layer: .* both directions"):
        gpurnn.RTRL(gpurnn.LSTM(3, 4, bidirectional=True), 2)
    with pytest.raises(ValueError, match="method: expected one of exact, .* got 'bptt'"):
        gpurnn.RTRL(layer, 2, "bptt")
    with pytest.raises(ValueError, match="batch_size: expected .* got 0"):
        gpurnn.RTRL(layer, 0)
    for method in LOCAL:
        with pytest.raises(ValueError, match="method: expected 'exact' or 'uoro' .* 'gru_before'"):
            gpurnn.RTRL(gpurnn.GRU(3, 4, reset_after=False), 2, method)
    rtrl = gpurnn.RTRL(layer, 2)
    with pytest.raises(ValueError, match=r"x: expected \(2, 3\), got \(2, 4\)"):
        rtrl.step(np.zeros((2, 4), "float32"))
    with pytest.raises(TypeError, match="x: expected float32, got float64"):
        rtrl.step(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"dy: expected \(2, 4\), got \(1, 4\)"):
        rtrl.learn(np.zeros((1, 4), "float32"))
    with pytest.raises(TypeError, match="state: expected a tuple of 2 arrays"):
        rtrl.reset(np.zeros((1, 2, 4), "float32"))
