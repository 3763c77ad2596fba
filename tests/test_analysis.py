"""Gradient norms by lag and recurrent Jacobians, against finite differences in float64."""

import numpy as np
import pytest

import gpurnn
from gpurnn.analysis import (
    gradient_norms,
    plot_gradient_norms,
    plot_spectrum,
    recurrent_jacobian,
    spectrum,
)
from tests.cases import (
    Problem,
    as_parts,
    as_state,
    assert_close,
    make_layer,
    put,
    random_numbers,
)
from tests.differences import STEP, TOLERANCE, assert_is_gradient

STACKS = [Problem("lstm", 4, 2, 3, 4, num_layers=2, dtype="float64")]  # the richest of states


def states_after(layer, numbers, steps):
    """The initial state's parts run `steps` on, each (L, B, H)."""
    state = as_state(numbers.state)
    return as_parts(layer(numbers.x[:steps], state)[1] if steps else state)


@pytest.mark.parametrize("problem", STACKS, ids=str)
def test_gradient_norms_are_those_of_finite_differences(problem):
    numbers = random_numbers(problem)
    layer, dy = make_layer(problem, numbers.params), numbers.dy[-1]
    norms = gradient_norms(layer, numbers.x, dy, as_state(numbers.state))
    assert norms.shape == (problem.T + 1, problem.B)
    np.testing.assert_allclose(norms[0], np.linalg.norm(dy, axis=-1))
    for lag in range(1, problem.T + 1):
        parts = states_after(layer, numbers, problem.T - lag)
        gradient = [np.empty_like(part) for part in parts]
        for part, values in zip(parts, gradient):
            for index in np.ndindex(part.shape):
                kept, losses = part[index], []
                for moved in (kept + STEP, kept - STEP):
                    part[index] = moved
                    losses.append(np.sum(dy * layer(numbers.x[-lag:], as_state(parts))[0][-1]))
                part[index] = kept
                values[index] = (losses[0] - losses[1]) / (2 * STEP)
        expected = np.sqrt(np.sum(np.square(gradient), axis=(0, 1, 3)))
        np.testing.assert_allclose(norms[lag], expected, rtol=1e-6, atol=TOLERANCE)


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("problem", STACKS, ids=str)
def test_the_jacobian_is_that_of_finite_differences(problem, steps):
    numbers = random_numbers(problem)
    layer = make_layer(problem, numbers.params)
    x, state = numbers.x[:steps, :1], tuple(part[:, :1].copy() for part in numbers.state)
    jacobian = recurrent_jacobian(layer, x, as_state(state))
    assert jacobian.shape == (sum(part.size for part in state),) * 2
    for i, row in enumerate(jacobian):
        gradient = row.reshape(len(state), *state[0].shape)
        for part, expected in zip(state, gradient):
            assert_is_gradient(
                expected,
                lambda i=i: np.stack(as_parts(layer(x, as_state(state))[1])).flat[i],
                part,
                f"unit {i}",
            )


def test_nothing_is_left_in_the_layer():
    """Not in its gradients, nor does the layout of its sequences change."""
    layer = gpurnn.RNN(2, 3, batch_first=True, dtype="float64", rng=0)
    x = np.random.default_rng(1).standard_normal((1, 4, 2))
    norms, jacobian = gradient_norms(layer, x), recurrent_jacobian(layer, x)
    assert layer.batch_first and not any(gradient.any() for gradient in layer.grads.values())
    other = gpurnn.RNN(2, 3, dtype="float64", rng=0)
    np.testing.assert_array_equal(norms, gradient_norms(other, x.swapaxes(0, 1)))
    np.testing.assert_array_equal(jacobian, recurrent_jacobian(other, x.swapaxes(0, 1)))


def test_at_rest_the_jacobian_is_the_recurrent_matrix():
    """There tanh has the slope 1, and gradients fade by the greatest eigenvalue."""
    layer = gpurnn.RNN(1, 2, bias=False, dtype="float64")
    layer.params["weight_hh_l0"][...] = [[0.5, 0.25], [0.0, 0.25]]
    jacobian = recurrent_jacobian(layer, np.zeros((1, 1, 1)))
    np.testing.assert_array_equal(jacobian, layer.params["weight_hh_l0"])
    found = spectrum(jacobian)
    np.testing.assert_allclose(found.eigenvalues, [0.5, 0.25])
    assert found.singular_values[0] > 0.5 > 0.25 > found.singular_values[1] > 0
    norms = gradient_norms(layer, np.zeros((20, 1, 1)))
    np.testing.assert_allclose(norms[-1] / norms[-2], 0.5, rtol=1e-5)


@pytest.mark.cuda
def test_cuda_finds_the_same():
    found = []
    for device in ("cpu", "cuda"):
        problem = Problem("lstm", 2, 1, 2, 3, dtype="float64", device=device)
        numbers = random_numbers(problem)
        layer, x = make_layer(problem, numbers.params), put(numbers.x, device)
        state = as_state(numbers.state, device)
        norms = gradient_norms(layer, x, put(numbers.dy[-1], device), state)
        found.append((norms, recurrent_jacobian(layer, x, state)))
    for expected, actual, what in zip(*found, ("norms", "jacobian")):
        assert_close(actual, expected, "float64", what)


def test_plots():
    pytest.importorskip("matplotlib")
    norms = {"a": np.array([[1.0, 1.0], [0.5, 0.1], [0.0, 0.0]])}
    axes = plot_gradient_norms(norms)
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [1.0, 0.3, np.nan])
    assert plot_gradient_norms({"b": norms["a"]}, axes) is axes and len(axes.lines) == 2
    axes = plot_spectrum(spectrum(np.array([[0.0, 2.0], [-2.0, 0.0]])))
    np.testing.assert_allclose(np.abs(axes.lines[1].get_ydata()), [2.0, 2.0])
    assert axes.get_title() == "largest singular value 2"


def test_bad_input():
    layer, x = gpurnn.LSTM(2, 3), np.zeros((4, 2, 2), "float32")
    for look in (gradient_norms, recurrent_jacobian):
        with pytest.raises(TypeError, match="layer: expected a recurrent layer, got Linear"):
            look(gpurnn.Linear(2, 3), x)
        with pytest.raises(ValueError, match="layer: expected one direction"):
            look(gpurnn.LSTM(2, 3, bidirectional=True), x)
        with pytest.raises(ValueError, match="layer: .* without noise, got {'dropout': 0.1}"):
            look(gpurnn.LSTM(2, 3, 2, dropout=0.1), x)
        with pytest.raises(ValueError, match="layer: .* without noise, got {'zoneout'"):
            look(gpurnn.LSTM(2, 3, zoneout=0.1), x)
        with pytest.raises(ValueError, match=r"x: expected \(T, B, 2\), got \(4, 2\)"):
            look(layer, x[:, 0])
    with pytest.raises(ValueError, match=r"dy: expected \(2, 3\), got \(2, 2\)"):
        gradient_norms(layer, x, x[0])
    with pytest.raises(TypeError, match="state: expected a tuple of 2 arrays"):
        gradient_norms(layer, x, state=np.zeros((1, 2, 3), "float32"))
    with pytest.raises(ValueError, match="x: expected one sequence, got 2"):
        recurrent_jacobian(layer, x)
    with pytest.raises(ValueError, match=r"state\[0\]: expected \(1, 1, 3\), got \(1, 2, 3\)"):
        recurrent_jacobian(layer, x[:, :1], (np.zeros((1, 2, 3), "float32"),) * 2)
    with pytest.raises(ValueError, match=r"jacobian: expected \(N, N\), got \(2, 3\)"):
        spectrum(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="jacobian: expected finite numbers"):
        spectrum(np.full((2, 2), np.nan))
