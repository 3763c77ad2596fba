"""Light recurrent layers: against the papers' equations, finite differences, and themselves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpurnn
from gpurnn.arrays import to_device, to_numpy
from tests.cases import TOLERANCE
from tests.differences import assert_is_gradient
from tests.reference_scans import run_stack

KINDS = ("MinGRU", "MinLSTM")
cuda = pytest.param("cuda", marks=pytest.mark.cuda)


def _made(kind, *sizes, **options):
    return getattr(gpurnn, kind)(*sizes, rng=3, **options)


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
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_finite_differences(kind, device):
    rng = np.random.default_rng(2)
    T, B, H, lengths = 40, 2, 3, np.array([37, 40])
    layer = _made(kind, 2, H, 2, bidirectional=True, dtype="float64")
    x, state = rng.standard_normal((T, B, 2)), rng.standard_normal((4, B, H))
    weights = rng.standard_normal((T, B, 2 * H)), rng.standard_normal((4, B, H))

    def loss():
        y, final = run_stack(layer, x, state, lengths)
        return (y * weights[0]).sum() + (final * weights[1]).sum()

    twin = _made(kind, 2, H, 2, bidirectional=True, dtype="float64").to(device)
    y, final, backward = twin.forward(to_device(x, device), to_device(state, device), lengths)
    dx, dstate = backward(*(to_device(w, device) for w in weights))
    some = np.ix_([0, 17, 36, 39], range(B), range(2))
    assert not to_numpy(dx)[37:, 0].any()
    assert_is_gradient(to_numpy(dstate), loss, state, "state")
    for name in ("weight_ih_l0", "bias_ih_l0_reverse", "weight_ih_l1_reverse"):
        assert_is_gradient(to_numpy(twin.grads[name]), loss, layer.params[name], name)
    few = x[some].copy()

    def loss_of_few():
        x[some] = few
        return loss()

    assert_is_gradient(to_numpy(dx)[some], loss_of_few, few, "x")


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


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 4), st.randoms())
def test_a_sequence_in_two_parts_and_a_batch_in_any_order(first, second, batch, random):
    rng = np.random.default_rng(random.getrandbits(32))
    layer = _made("MinGRU", 3, 9, 2)
    x = rng.standard_normal((first + second, batch, 3)).astype("float32")
    whole, final = layer(x)
    y, state = layer(x[:first])
    rest, state = layer(x[first:], state)
    _close(np.concatenate([y, rest]), whole, "float32")
    _close(state, final, "float32")
    order = rng.permutation(batch)
    _close(layer(x[:, order])[0], whole[:, order], "float32")


@pytest.mark.parametrize("device", ["cpu", cuda])
@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_says_what_a_call_says(kind, device):
    layer = _made(kind, 3, 5, 2).to(device)
    x = to_device(np.random.default_rng(7).standard_normal((6, 2, 3)).astype("float32"), device)
    stream, (y, state) = layer.stream(2), layer(x)
    for t in range(6):
        _close(stream.step(x[t]), to_numpy(y[t]), "float32")
    _close(stream.state, to_numpy(state), "float32")


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
