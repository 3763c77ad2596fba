"""The references' backward against central differences of their forward."""

import numpy as np
import pytest

from tests import reference_losses
from tests.cases import CELLS, Problem, random_numbers
from tests.differences import assert_is_gradient
from tests.reference import backward, forward


@pytest.mark.parametrize("cell", CELLS)
def test_backward_is_the_gradient_of_forward(cell):
    problem = Problem(
        cell, T=3, B=2, I=2, H=3, num_layers=2, bidirectional=True, ragged=True, dtype="float64"
    )
    numbers = random_numbers(problem)

    def run():
        return forward(
            problem.reference_cell, numbers.params, numbers.x, numbers.state, numbers.lengths, 2, 2
        )

    def loss():
        y, state, _ = run()
        return np.sum(y * numbers.dy) + sum(
            np.sum(part * dpart) for part, dpart in zip(state, numbers.dstate)
        )

    dx, dstate, grads = backward(run()[2], numbers.dy, numbers.dstate)
    assert_is_gradient(dx, loss, numbers.x, "x")
    for part, dpart, letter in zip(numbers.state, dstate, "hc"):
        assert_is_gradient(dpart, loss, part, letter)
    for name, parameter in numbers.params.items():
        assert_is_gradient(grads[name], loss, parameter, name)


@pytest.mark.parametrize("name", ["mean_squared_error", "sigmoid_cross_entropy"])
def test_losses_of_numbers(name):
    function = getattr(reference_losses, name)
    a, target = np.random.default_rng(1).random((2, 3, 4))
    assert_is_gradient(function(a, target)[1], lambda: function(a, target)[0], a, name)


def test_softmax_cross_entropy():
    logits = np.random.default_rng(1).standard_normal((2, 3, 5))
    targets = np.array([[0, 4, -100], [2, -100, 2]])

    def loss():
        return reference_losses.softmax_cross_entropy(logits, targets)[0]

    gradient = reference_losses.softmax_cross_entropy(logits, targets)[1]
    assert_is_gradient(gradient, loss, logits, "logits")
