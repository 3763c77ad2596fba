"""Arrays used again must never be two people's at a time."""

import numpy as np

import gpurnn
from gpurnn.kernels.cpu import workspace

FLOAT = np.dtype(np.float32)
STEPS = 4000  # enough for arrays that are worth keeping


def test_an_array_given_back_is_used_again_and_only_once():
    first = workspace.take((300, 500), FLOAT)
    place = first.ctypes.data
    workspace.give_back(first)
    again, other = workspace.take((500, 300), FLOAT), workspace.take((300, 500), FLOAT)
    assert again.ctypes.data == place
    assert not np.shares_memory(again, other)


def test_backward_passes_that_are_alive_together_do_not_share_memory():
    layer = gpurnn.LSTM(3, 4, rng=0)
    x = np.random.default_rng(0).standard_normal((2, STEPS, 1, 3)).astype("float32")

    def gradients(i, *others):
        y, _, backward = layer.forward(x[i])
        for other in others:
            layer.forward(x[other])  # its memory is free again at once
        return backward(y)[0]

    alone = [gradients(0), gradients(1)]
    y0, _, backward0 = layer.forward(x[0])
    y1, _, backward1 = layer.forward(x[1])
    np.testing.assert_array_equal(backward1(y1)[0], alone[1])
    np.testing.assert_array_equal(backward0(y0)[0], alone[0])
    np.testing.assert_array_equal(gradients(0, 1, 1), alone[0])


def test_what_a_call_returns_is_never_taken_again():
    layer = gpurnn.LSTM(3, 4, rng=0)
    x = np.random.default_rng(0).standard_normal((STEPS, 1, 3)).astype("float32")
    y, state = layer(x)
    kept = y.copy(), state[0].copy(), state[1].copy()
    for _ in range(3):
        layer.forward(10 * x)[2](y)
    for now, before in zip((y, *state), kept):
        np.testing.assert_array_equal(now, before)


def test_parameters_begin_with_a_cache_line():
    layer = gpurnn.LSTM(3, 5, dtype="float64")
    layer.load_state_dict(layer.state_dict())
    arrays = [*layer.params.values(), *layer.grads.values()]
    assert [a.ctypes.data % 64 for a in arrays] == [0] * len(arrays)
