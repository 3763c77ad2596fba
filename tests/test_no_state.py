"""No state, and no gradient by the last one, are zeros, which on CUDA nobody writes beforehand: in
layers whose time loops are not the plain ones, of which `test_recurrent_rules` tells."""

import numpy as np
import pytest

import gpurnn
from tests.cases import as_parts, as_state, get, put

LAYERS = {
    "dropped": lambda **options: gpurnn.RNN(3, 4, recurrent_dropout=0.5, **options),
    "projected": lambda **options: gpurnn.LSTM(3, 4, proj_size=2, **options),
    "recomputed": lambda **options: gpurnn.RNN(3, 4, recompute=2, **options),
    "windowed": lambda **options: gpurnn.QRNN(3, 4, kernel_size=2, pooling="fo", **options),
}


@pytest.fixture(autouse=True)
def stepwise():
    """Its kernels compile in a fraction of the other schedule's time."""
    gpurnn.cuda.schedule("stepwise")
    yield
    gpurnn.cuda.schedule("auto")


@pytest.mark.cuda
@pytest.mark.parametrize("kind", LAYERS)
def test_no_state_is_zeros(kind):
    x = put(np.random.default_rng(1).standard_normal((5, 2, 3)), "cuda")

    def train(state):
        """All that comes out, and zeros of the shapes of the state."""
        layer = LAYERS[kind](dtype="float64", device="cuda", rng=0)
        y, final, backward = layer.forward(x, state)
        dx, dinitial = backward(put(np.ones(y.shape), "cuda"), state)
        found = [y, *as_parts(final), dx, *as_parts(dinitial), *layer.grads.values()]
        zeros = tuple(map(np.zeros_like, as_parts(final)))
        return [*map(get, found)], as_state(zeros, "cuda")

    without, zeros = train(None)
    for a, b in zip(without, train(zeros)[0], strict=True):
        np.testing.assert_array_equal(a, b)
