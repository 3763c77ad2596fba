"""Light recurrent layers: against the papers' equations, finite differences, and themselves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpurnn
from gpurnn.arrays import to_device, to_numpy
from tests.cases import TOLERANCE
from tests.differences import assert_is_gradient_along
from tests.reference_scans import run_stack

KINDS = ("MinGRU", "MinLSTM")
OTHERS = {
    "QRNN": {},
    "QRNN f": {"pooling": "f", "kernel_size": 1},
    "QRNN ifo": {"pooling": "ifo", "kernel_size": 3},
    "SRU": {},
    "SRU peepholes": {"peepholes": True},
}
cuda = pytest.param("cuda", marks=pytest.mark.cuda)


def _made(kind, *sizes, **options):
    options = OTHERS.get(kind, {}) | options
    return getattr(gpurnn, kind.split()[0])(*sizes, rng=3, **options)


def _state(layer, batch, rng, dtype="float64"):
    shape = (layer.num_layers * layer.directions, batch, layer.hidden_size)
    parts = [rng.standard_normal(shape).astype(dtype) for _ in range(layer.cell.states)]
    return tuple(parts) if len(parts) > 1 else parts[0]


def _moved(state, device):
    if isinstance(state, tuple):
        return tuple(to_device(part, device) for part in state)
    return to_device(state, device)


def _stacked(state):
    return np.stack([to_numpy(part) for part in state])


def _close(got, want, dtype):
    scale = max(1.0, np.abs(want).max())
    np.testing.assert_allclose(to_numpy(got), want, atol=TOLERANCE[str(dtype)] * scale, rtol=0)


def _ragged(T, B, rng):
    lengths = rng.integers(1, T + 1, B)
    lengths[rng.integers(B)] = T
    return lengths


# H above, at and beside a vector's width; T that chunks of 16 steps and 128 threads divide badly.
SHAPES = [(1, 1, 3), (2, 3, 16), (17, 5, 33), (70, 2, 7), (1000, 1, 5)]


@pytest.mark.parametrize("device", ["cpu", cuda])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_agrees_with_the_papers_equations(kind, dtype, device):
    rng = np.random.default_rng(1)
    for T, B, H in SHAPES:
        layer = _made(kind, 4, H, 2, bidirectional=T < 100, dtype=dtype)
        rows = 2 * layer.directions
        x = rng.standard_normal((T, B, 4)).astype(dtype)
        state = rng.standard_normal((rows, B, H)).astype(dtype)
        lengths = _ragged(T, B, rng)
        for b, length in enumerate(lengths):
            x[length:, b] = np.nan  # nobody looks there
        want, want_state = run_stack(layer, x, state, lengths)
        layer.to(device)
        arguments = to_device(x, device), to_device(state, device), lengths
        for y, final in (layer(*arguments), layer.forward(*arguments)[:2]):
            _close(y, want, dtype)
            _close(final, want_state, dtype)


@pytest.mark.parametrize("device", ["cpu", cuda])
@pytest.mark.parametrize("kind", [*KINDS, *OTHERS])
def test_gradients_are_those_of_finite_differences(kind, device):
    rng = np.random.default_rng(2)
    T, B, I, H, lengths = 40, 3, 2, 3, np.array([37, 40, 1])
    layer, twin = (_made(kind, I, H, 2, bidirectional=True, dtype="float64") for _ in range(2))
    x, state = rng.standard_normal((T, B, I)), _state(layer, B, rng)
    dy, dfinal = rng.standard_normal((T, B, 2 * H)), _state(layer, B, rng)

    def loss():
        y, final = run_stack(layer, x, state, lengths)
        return (y * dy).sum() + (_stacked(final) * _stacked(dfinal)).sum()

    y, final, backward = twin.to(device).forward(
        to_device(x, device), _moved(state, device), lengths
    )
    want, want_final = run_stack(layer, x, state, lengths)
    _close(y, want, "float64")
    _close(_stacked(final), _stacked(want_final), "float64")
    dx, dstate = backward(to_device(dy, device), _moved(dfinal, device))
    dx = to_numpy(dx)
    assert not dx[37:, 0].any() and not dx[1:, 2].any()
    states = (state, dstate) if isinstance(state, tuple) else ((state,), (dstate,))
    for part, dpart in zip(*states):
        assert_is_gradient_along(to_numpy(dpart), loss, part, "state")
    for name, param in layer.params.items():
        assert_is_gradient_along(to_numpy(twin.grads[name]), loss, param, name)
    assert_is_gradient_along(dx, loss, x, "x")


@pytest.mark.cuda
@pytest.mark.parametrize("kind", KINDS)
def test_cuda_goes_back_through_chunks_as_the_cpu_does(kind):
    from gpurnn.kernels.cuda import scan

    assert scan._grid(99, 211)[1] > 1
    rng = np.random.default_rng(5)
    x, lengths = rng.standard_normal((211, 3, 6)).astype("float32"), np.array([211, 16, 150])
    dy = rng.standard_normal((211, 3, 66)).astype("float32")
    results = []
    for device in ("cpu", "cuda"):
        layer = _made(kind, 6, 33, bidirectional=True).to(device)
        y, state, backward = layer.forward(to_device(x, device), None, lengths)
        dx, dstate = backward(to_device(dy, device), state)
        results.append([to_numpy(a) for a in (y, state, dx, dstate, *layer.grads.values())])
    for on_cpu, on_cuda in zip(*results):
        _close(on_cuda, on_cpu, "float32")


@pytest.mark.parametrize("kind", ["MinGRU", "QRNN ifo"])
@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 4), st.randoms())
def test_a_sequence_in_two_parts_and_a_batch_in_any_order(kind, first, second, batch, random):
    rng = np.random.default_rng(random.getrandbits(32))
    layer = _made(kind, 3, 9, 2, dtype="float64")
    x = rng.standard_normal((first + second, batch, 3))
    whole, final = layer(x)
    y, state = layer(x[:first])
    rest, state = layer(x[first:], state)
    _close(np.concatenate([y, rest]), whole, "float64")
    _close(_stacked(state), _stacked(final), "float64")
    order = rng.permutation(batch)
    _close(layer(x[:, order])[0], whole[:, order], "float64")


@pytest.mark.parametrize("device", ["cpu", cuda])
@pytest.mark.parametrize("kind", [*KINDS, *OTHERS])
def test_a_stream_says_what_a_call_says(kind, device):
    layer = _made(kind, 3, 3, 2, dtype="float64").to(device)
    x = to_device(np.random.default_rng(7).standard_normal((6, 2, 3)), device)
    stream, (y, state) = layer.stream(2), layer(x)
    for t in range(6):
        _close(stream.step(x[t]), to_numpy(y[t]), "float64")
    _close(_stacked(stream.state), _stacked(state), "float64")


def test_stands_in_a_stack_with_other_layers():
    stack = gpurnn.Stack([_made("MinGRU", 3, 4), gpurnn.GRU(4, 5, rng=1)])
    y, _, backward = stack.forward(np.ones((6, 2, 3), "float32"))
    assert y.shape == (6, 2, 5)
    assert backward(np.ones_like(y))[0].any()


def test_the_outputs_are_the_callers_to_change():
    layer = _made("MinGRU", 4, 4, dtype="float64")
    x = np.random.default_rng(0).standard_normal((5, 2, 4))
    (_, _, backward), (changed, _, backward_of_changed) = layer.forward(x), layer.forward(x)
    changed += x  # as a residual connection does
    np.testing.assert_array_equal(backward(x)[0], backward_of_changed(x)[0])


def test_minlstm_stays_finite_where_both_gates_are_shut():
    layer = _made("MinLSTM", 1, 2)
    layer.params["weight_ih_l0"][...] = 0
    layer.params["bias_ih_l0"][...] = [-200, -1000, -200, -990, 1, 1]
    y, _, backward = layer.forward(np.ones((3, 1, 1), "float32"))
    np.testing.assert_allclose(y[:, 0], [[0.5, 1], [0.75, 1], [0.875, 1]], atol=1e-4)
    assert np.isfinite(backward(np.ones_like(y))[0]).all()


def test_many_threads_give_what_one_gives():
    layer = _made("MinGRU", 8, 100)
    x = np.random.default_rng(8).standard_normal((60, 3, 8)).astype("float32")
    threads, results = gpurnn.get_num_threads(), []
    try:
        for count in (1, 7):
            gpurnn.set_num_threads(count)
            y, _, backward = layer.forward(x)
            results.append((y, backward(y)[0]))
    finally:
        gpurnn.set_num_threads(threads)
    for one, many in zip(*results):
        np.testing.assert_array_equal(one, many)


@pytest.mark.parametrize("kind", KINDS)
def test_refuses_what_does_not_fit(kind):
    layer = _made(kind, 3, 4)
    assert set(layer.params) == {"weight_ih_l0", "bias_ih_l0"}
    assert set(_made(kind, 3, 4, bias=False).params) == {"weight_ih_l0"}
    with pytest.raises(ValueError, match=r"x: expected \(T, B, 3\), got \(5, 2, 4\)"):
        layer(np.zeros((5, 2, 4), "float32"))
    with pytest.raises(ValueError, match="state: expected"):
        layer(np.zeros((5, 2, 3), "float32"), np.zeros((1, 2, 5), "float32"))
    with pytest.raises(ValueError, match="lengths"):
        layer(np.zeros((5, 2, 3), "float32"), None, [6, 1])
    with pytest.raises(ValueError, match="dropout"):
        _made(kind, 3, 4, dropout=1.0)
    with pytest.raises(TypeError, match="zoneout"):
        _made(kind, 3, 4, zoneout=0.1)
    with pytest.raises(TypeError, match="reduced"):
        layer.reduced()
    with pytest.raises(TypeError, match="layer: expected one with recurrent weights"):
        gpurnn.RTRL(layer, 2)


def test_new_layers_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match="pooling: expected 'f', 'fo' or 'ifo', got 'max'"):
        gpurnn.QRNN(3, 4, pooling="max")
    with pytest.raises(ValueError, match="kernel_size: expected an integer of at least 1, got 0"):
        gpurnn.QRNN(3, 4, kernel_size=0)
    layer = gpurnn.QRNN(3, 4)
    assert layer.params["weight_ih_l0"].shape == (12, 6)
    with pytest.raises(TypeError, match="state: expected a tuple of 4 arrays, got ndarray"):
        layer(np.zeros((5, 2, 3), "float32"), np.zeros((1, 2, 4), "float32"))
    layer = gpurnn.SRU(3, 4, 2, peepholes=True)
    assert layer.params["weight_ih_l0"].shape == (16, 3)
    assert layer.params["weight_ih_l1"].shape == (12, 4)
    with pytest.raises(ValueError, match=r"state: expected \(2, 2, 4\), got \(1, 2, 4\)"):
        layer(np.zeros((5, 2, 3), "float32"), np.zeros((1, 2, 4), "float32"))
