"""Every gradient of every cell against central finite differences of the layer itself, in float64.

On the CPU only: on CUDA each difference would be a launch on a slow emulator, and there the
float64 gradients are held against the references to 1e-10 in test_recurrent.py.
"""

import numpy as np
import pytest

from tests.cases import CELLS, Problem, as_parts, as_state, make_layer, random_numbers
from tests.differences import assert_is_gradient

STACKS = {
    "one": {},
    "ragged bidirectional": {"bidirectional": True, "ragged": True},
    "two layers": {"num_layers": 2},
}


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("cell", CELLS)
def test_every_gradient(cell, stack):
    problem = Problem(cell, T=3, B=2, I=2, H=3, dtype="float64", **STACKS[stack])
    numbers = random_numbers(problem)
    layer = make_layer(problem, numbers.params)
    lengths = numbers.lengths if problem.ragged else None

    def loss():
        y, state = layer(numbers.x, as_state(numbers.state), lengths)
        return np.sum(y * numbers.dy) + sum(
            np.sum(part * dpart) for part, dpart in zip(as_parts(state), numbers.dstate)
        )

    _, _, backward = layer.forward(numbers.x, as_state(numbers.state), lengths)
    dx, dstate = backward(numbers.dy, as_state(numbers.dstate))

    assert_is_gradient(dx, loss, numbers.x, "x")
    for part, dpart, letter in zip(numbers.state, as_parts(dstate), "hc"):
        assert_is_gradient(dpart, loss, part, letter)
    for name, parameter in layer.params.items():
        assert_is_gradient(layer.grads[name], loss, parameter, name)
