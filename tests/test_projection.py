"""LSTMs with projected hidden states: against the paper's equations and beside PyTorch's."""

import numpy as np
import pytest

import gpurnn
from gpurnn.arrays import to_device, to_numpy
from tests.differences import assert_is_gradient_along

T, B, I, H, P = 7, 5, 4, 19, 9  # H and P beside vectors' widths
LENGTHS = np.array([7, 1, 3, 7, 2])
cuda = pytest.param("cuda", marks=pytest.mark.cuda)


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _step(w, x, h, c):
    """Sak et al. 2014, with one projection, the recurrent one."""
    i, f, g, o = np.split(w["weight_ih"] @ x + w["bias_ih"] + w["weight_hh"] @ h + w["bias_hh"], 4)
    i, f = i + w.get("weight_ci", 0) * c, f + w.get("weight_cf", 0) * c
    c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
    o = _sigmoid(o + w.get("weight_co", 0) * c)
    return w["weight_hr"] @ (o * np.tanh(c)), c


def _run(params, x, h, c, lengths, layers=2):
    """Both directions of all layers, sequence by sequence -> y, h, c."""
    h, c = h.copy(), c.copy()
    for layer in range(layers):
        y = np.zeros((T, B, 2 * P))
        for direction, suffix in enumerate(("", "_reverse")):
            ending, row = f"_l{layer}{suffix}", 2 * layer + direction
            w = {n.removesuffix(ending): a for n, a in params.items() if n.endswith(ending)}
            for b, length in enumerate(lengths):
                for t in range(length)[:: -1 if direction else 1]:
                    h[row, b], c[row, b] = _step(w, x[t, b], h[row, b], c[row, b])
                    y[t, b, direction * P :][:P] = h[row, b]
        x = y
    return y, h, c


def _numbers(rng):
    """x, h and c, and gradients by y, h and c."""
    shapes = (T, B, I), (4, B, P), (4, B, H), (T, B, 2 * P), (4, B, P), (4, B, H)
    return [rng.standard_normal(shape) for shape in shapes]


def _trained(layer, numbers, lengths):
    """y, h, c, dx, dh and dc of a layer on its device, as NumPy arrays."""
    x, h, c, dy, dh, dc = (to_device(a, layer.device) for a in numbers)
    y, state, backward = layer.forward(x, (h, c), lengths)
    dx, dstate = backward(dy, (dh, dc))
    return [to_numpy(a) for a in (y, *state, dx, *dstate)]


def _made(device="cpu", **options):
    return gpurnn.LSTM(
        I, H, 2, proj_size=P, bidirectional=True, dtype="float64", rng=2, **options
    ).to(device)


def _close(got, want):
    np.testing.assert_allclose(to_numpy(got), want, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "device, options",
    [
        ("cpu", {}),
        ("cpu", {"recompute": 3}),
        pytest.param("cuda", {"recompute": 3}, marks=pytest.mark.cuda),
        pytest.param("cuda", {"peepholes": True}, marks=pytest.mark.cuda),
    ],
)
def test_is_the_papers_and_gradients_are_those_of_finite_differences(device, options):
    numbers = _numbers(np.random.default_rng(1))
    x, h, c, *by_results = numbers
    for b, length in enumerate(LENGTHS):
        x[length:, b] = np.nan  # nobody looks there
    layer, twin = _made(device, **options), _made(**options)
    y, *state, dx, dh, dc = _trained(layer, numbers, LENGTHS)
    params = twin.params
    for got, want in zip((y, *state), _run(params, x, h, c, LENGTHS)):
        _close(got, want)

    def loss():
        return sum((a * d).sum() for a, d in zip(_run(params, x, h, c, LENGTHS), by_results))

    x[np.isnan(x)] = 0
    assert_is_gradient_along(dx, loss, x, "x")
    assert_is_gradient_along(dh, loss, h, "h")
    assert_is_gradient_along(dc, loss, c, "c")
    for name, param in params.items():
        assert_is_gradient_along(to_numpy(layer.grads[name]), loss, param, name)


@pytest.mark.parametrize("device", ["cpu", cuda])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_beside_pytorch(lengths, device):
    torch = pytest.importorskip("torch")
    rnn = torch.nn.utils.rnn
    theirs = torch.nn.LSTM(I, H, 2, proj_size=P, bidirectional=True, dtype=torch.float64)
    layer = _made()
    layer.load_state_dict(theirs.state_dict())
    layer.to(device)
    numbers = _numbers(np.random.default_rng(4))
    x, h, c = (torch.tensor(a, requires_grad=True) for a in numbers[:3])
    given = x
    if lengths is not None:
        given = rnn.pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)
    y, state = theirs(given, (h, c))
    if lengths is not None:
        y, _ = rnn.pad_packed_sequence(y, total_length=T)
    results = y, *state
    sum((a * torch.tensor(d)).sum() for a, d in zip(results, numbers[3:])).backward()
    wanted = [a.detach().numpy() for a in (*results, x.grad, h.grad, c.grad)]
    for got, want in zip(_trained(layer, numbers, lengths), wanted):
        _close(got, want)
    for name, param in theirs.named_parameters():
        _close(layer.grads[name], param.grad.numpy())
    theirs.load_state_dict({n: torch.tensor(a) for n, a in layer.state_dict().items()})


@pytest.mark.parametrize("device", ["cpu", cuda])
def test_one_sequence_streamed_is_what_a_call_says(device):
    layer = gpurnn.LSTM(I, H, 2, proj_size=P, dtype="float64", rng=3).to(device)
    x = to_device(np.random.default_rng(5).standard_normal((6, 1, I)), device)
    stream, (y, (h, c)) = layer.stream(), layer(x)
    for t in range(6):
        _close(stream.step(x[t]), to_numpy(y[t]))
    _close(stream.state[0], to_numpy(h))
    _close(stream.state[1], to_numpy(c))


def test_the_only_sequence_goes_back_as_one_of_many():
    x = np.random.default_rng(6).standard_normal((6, 1, I))
    alone, among = _made(), _made()
    _, _, backward = alone.forward(x)
    dx, (dh, _) = backward(np.ones((6, 1, 2 * P)))
    _, _, backward = among.forward(np.repeat(x, 4, axis=1))
    dxs, (dhs, _) = backward(np.ones((6, 4, 2 * P)))
    _close(dx, dxs[:, 2:3])
    _close(dh, dhs[:, 2:3])


def test_refuses_what_does_not_fit():
    for size, message in ((H, "less than hidden_size 19, got 19"), (-1, "an integer"), (True, "")):
        with pytest.raises(ValueError, match=f"proj_size: expected {message}"):
            gpurnn.LSTM(I, H, proj_size=size)
    with pytest.raises(ValueError, match="zoneout: expected none with proj_size, got 0.1"):
        _made(zoneout=0.1)
    with pytest.raises(ValueError, match="recurrent_dropout: expected none with proj_size"):
        _made(recurrent_dropout=0.1)
    with pytest.raises(ValueError, match="dtype: expected float32 or float64 with proj_size"):
        gpurnn.LSTM(I, H, proj_size=P, dtype="float16", device="cpu")
    layer = gpurnn.LSTM(I, H, proj_size=P)
    x = np.zeros((T, B, I), "float32")
    with pytest.raises(ValueError, match=r"state\[0\]: expected \(1, 5, 9\), got \(1, 5, 19\)"):
        layer(x, (np.zeros((1, B, H), "float32"),) * 2)
    with pytest.raises(ValueError, match="reduced: expected a layer without projection"):
        layer.reduced()
    with pytest.raises(ValueError, match="layer: expected one without projection"):
        gpurnn.RTRL(layer, B)
    with pytest.raises(ValueError, match="layer: expected one without projection"):
        gpurnn.analysis.gradient_norms(layer, x)


@pytest.mark.cuda
def test_the_persistent_schedule_refuses():
    layer, wanted = _made("cuda"), gpurnn.cuda.schedule()
    try:
        gpurnn.cuda.schedule("persistent")
        with pytest.raises(RuntimeError, match="proj_size"):
            layer(to_device(np.zeros((T, B, I)), "cuda"))
    finally:
        gpurnn.cuda.schedule(wanted)
