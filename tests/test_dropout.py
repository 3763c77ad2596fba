"""Dropout stands between layers, in training only."""

import numpy as np

from tests.cases import Problem, get, make_layer, put, random_numbers
from tests.differences import assert_is_gradient


def problem_of(device, **changed):
    return Problem("gru", 3, 2, 2, 3, num_layers=2, dtype="float64", device=device, **changed)


def test_only_in_training(device):
    problem = problem_of(device)
    numbers = random_numbers(problem)
    plain = make_layer(problem, numbers.params)
    layer = make_layer(problem, numbers.params, dropout=0.5)
    x = put(numbers.x, device)
    np.testing.assert_array_equal(get(layer(x)[0]), get(plain(x)[0]))
    assert not np.allclose(get(layer.forward(x)[0]), get(plain(x)[0]))


def test_one_layer_has_nothing_to_drop(device):
    problem = Problem("gru", 3, 2, 2, 3, device=device)
    numbers = random_numbers(problem)
    layer = make_layer(problem, numbers.params, dropout=0.5)
    x = put(numbers.x, device)
    np.testing.assert_array_equal(get(layer.forward(x)[0]), get(layer(x)[0]))


def test_follows_the_generator(device):
    """Another mask at each call; the same ones again from the same seed."""
    problem = problem_of(device)
    numbers = random_numbers(problem)
    x = put(numbers.x, device)

    def two_calls():
        layer = make_layer(problem, numbers.params, dropout=0.5, rng=7)
        return get(layer.forward(x)[0]), get(layer.forward(x)[0])

    first, second = two_calls()
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal((first, second), two_calls())


def test_drops_the_share_asked_for_and_keeps_the_mean(device):
    """An upper layer that only adds up its inputs shows the masks of the lower one."""
    problem = Problem("rnn_relu", 1, 40, 1, 50, num_layers=2, bias=False, device=device)
    params = {name: np.zeros_like(p) for name, p in random_numbers(problem).params.items()}
    params["weight_ih_l0"][...] = 1
    params["weight_ih_l1"][...] = np.eye(50)
    layer = make_layer(problem, params, dropout=0.25)
    y = get(layer.forward(put(np.ones((1, 40, 1), np.float32), device))[0])
    np.testing.assert_allclose(y[y != 0], 1 / 0.75, rtol=1e-6)
    assert abs(np.mean(y == 0) - 0.25) < 0.05  # five standard deviations of 2000 draws


def test_gradient():
    problem = problem_of("cpu")
    numbers = random_numbers(problem)
    layer = make_layer(problem, numbers.params, dropout=0.5)

    def forward():
        layer.rng = np.random.default_rng(3)
        return layer.forward(numbers.x)

    dx, _ = forward()[2](numbers.dy)
    assert_is_gradient(dx, lambda: np.sum(forward()[0] * numbers.dy), numbers.x, "x")
    for name, parameter in layer.params.items():
        assert_is_gradient(
            layer.grads[name], lambda: np.sum(forward()[0] * numbers.dy), parameter, name
        )
