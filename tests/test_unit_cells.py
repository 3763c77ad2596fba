"""Cells with more than gates and states: peepholes, coupled gates, layer normalisation, zoneout,
recurrent dropout.

A layer's outputs are held against plain NumPy with the masks drawn once more, its gradients
against finite differences of itself, CUDA against the CPU; all in float64.
"""

from dataclasses import dataclass, replace

import numpy as np
import pytest

import gpurnn
from gpurnn.arrays import kernels_of
from gpurnn.kernels.cells.recurrent_dropout import recurrent_dropout
from gpurnn.kernels.cells.zoneout import zoneout
from gpurnn.kernels.mathematics import tanh, tanh_slope, zero
from gpurnn.kernels.signatures import backward_of, forward_of
from gpurnn.kernels.specialise import text_of_cell
from gpurnn.layers.recurrent import Recurrent
from tests import reference, reference_units
from tests.cases import as_parts, as_state, assert_close, assert_states_close, get, put
from tests.differences import assert_is_gradient

SEED = 7


@dataclass
class Case:
    """A layer and what is fed to it."""

    kind: str
    cell: object
    options: dict
    bidirectional: bool = False
    lengths: tuple = (3, 1, 2, 3)

    T, I, H = 3, 2, 3

    @property
    def B(self):
        return len(self.lengths)

    def layer(self):
        options = {"rng": SEED, "dtype": "float64", "bidirectional": self.bidirectional}
        layer = getattr(gpurnn, self.kind)(self.I, self.H, **{**options, **self.options})
        for name, param in layer.params.items():
            if name.startswith("gain"):
                param[...] = layer.rng.uniform(0.5, 1.5, param.shape)
        return layer


CASES = {
    "LSTM": Case(
        "LSTM",
        reference_units.CoupledPeepholes,
        {
            "coupled": True,
            "peepholes": True,
            "zoneout": (0.4, 0.3),
            "recurrent_dropout": 0.5,
            "recompute": 2,
        },  # fmt: skip
        bidirectional=True,
    ),
    "GRU": Case(
        "GRU",
        reference.GRUResetBefore,
        {"reset_after": False, "zoneout": 0.4, "recurrent_dropout": 0.5},
        bidirectional=True,
    ),
    "normalised LSTM": Case(
        "LSTM",
        reference_units.Normalised(reference.LSTM),
        {"layer_norm": True, "recompute": 2},
        bidirectional=True,
    ),
    "normalised GRU": Case(
        "GRU", reference_units.Normalised(reference.GRUResetAfter), {"layer_norm": True}
    ),
    "normalised GRU of two phases": Case(
        "GRU",
        reference_units.NormalisedGRUResetBefore,
        {"layer_norm": True, "reset_after": False},
        lengths=(2, 3),  # so few run by units
    ),
}


@dataclass
class Numbers:
    x: np.ndarray
    state: tuple
    lengths: np.ndarray
    dy: np.ndarray
    dstate: tuple


def numbers_of(case, layer):
    rng = np.random.default_rng(1)
    rows, states = layer.num_layers * layer.directions, layer.cell.states
    T, B, I, H = case.T, case.B, case.I, case.H

    def parts():
        return tuple(rng.standard_normal((rows, B, H)) for _ in range(states))

    dy = rng.standard_normal((T, B, H * layer.directions))
    return Numbers(rng.standard_normal((T, B, I)), parts(), np.array(case.lengths), dy, parts())


def run_forward(layer, numbers):
    """With the masks of `SEED`."""
    layer.rng = np.random.default_rng(SEED)
    return layer.forward(
        put(numbers.x, layer.device), as_state(numbers.state, layer.device), numbers.lengths
    )


def parameters_of(layer, suffix):
    kinds = {name[: -len(suffix)]: name for name in layer.params if name.endswith(suffix)}
    return {kind: get(layer.params[name]) for kind, name in kinds.items()}


def noisy_cells(case, layer, rng):
    """The cells of one direction's sequences, masks drawn as the layer draws them."""
    T, B, H = case.T, case.B, case.H
    updates = [reference_units.drawn_masks(rng, rate, (T, B, H), 1) for rate in layer.zoneout]
    seen, rate = np.ones((B, H)), layer.recurrent_dropout
    if rate:
        seen = reference_units.drawn_masks(rng, rate, (B, H), 1 / (1 - rate))
    return [reference_units.Noisy(case.cell, [u[:, b] for u in updates], seen[b]) for b in range(B)]


def expected(case, layer, numbers):
    """What training gives, in plain NumPy."""
    rng, ys, finals = np.random.default_rng(SEED), [], []
    for direction in range(layer.directions):
        w = parameters_of(layer, "_l0_reverse" if direction else "_l0")
        state = tuple(part[direction] for part in numbers.state)
        cells = noisy_cells(case, layer, rng)
        y, final = reference_units.run(cells, w, numbers.x, state, case.lengths, bool(direction))
        ys.append(y)
        finals.append(final)
    return np.concatenate(ys, axis=2), tuple(np.stack(parts) for parts in zip(*finals))


@pytest.mark.parametrize("name", CASES)
def test_outputs_and_gradients(name):
    case = CASES[name]
    layer = case.layer()
    numbers = numbers_of(case, layer)
    y, state, backward = run_forward(layer, numbers)
    y_expected, state_expected = expected(case, layer, numbers)
    assert_close(y, y_expected, "float64", "y")
    assert_states_close(state, state_expected, "float64", "state")

    def loss():
        y, state, _ = run_forward(layer, numbers)
        return np.sum(y * numbers.dy) + sum(
            np.sum(part * dpart) for part, dpart in zip(as_parts(state), numbers.dstate)
        )

    dx, dstate = backward(numbers.dy, as_state(numbers.dstate))
    assert_is_gradient(dx, loss, numbers.x, "x")
    for part, dpart, letter in zip(numbers.state, as_parts(dstate), "hc"):
        assert_is_gradient(dpart, loss, part, letter)
    for name, parameter in layer.params.items():
        assert_is_gradient(layer.grads[name], loss, parameter, name)


@pytest.mark.cuda
@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        ("LSTM", "persistent"),
        ("GRU", "stepwise"),
        ("normalised LSTM", "auto"),
        ("normalised GRU of two phases", "auto"),
    ],
)
def test_cuda_agrees(name, schedule):
    """In training, all gradients included; the masks of one seed are the same."""
    case, results = CASES[name], []
    gpurnn.cuda.schedule(schedule)
    try:
        for device in ("cpu", "cuda"):
            layer = case.layer().to(device)
            numbers = numbers_of(case, layer)
            y, state, backward = run_forward(layer, numbers)
            dx, dstate = backward(put(numbers.dy, device), as_state(numbers.dstate, device))
            found = [y, *as_parts(state), dx, *as_parts(dstate), *layer.grads.values()]
            results.append([get(array) for array in found])
    finally:
        gpurnn.cuda.schedule("auto")
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=1e-11, atol=1e-11)


def forward_readout(x, h, state, weights):
    h_new = tanh(x[0] + h[0])
    return (h_new, state[1] + weights[0] * (h_new - state[1])), ()


def backward_readout(saved, state, new, dnew, weights):
    dh = dnew[0] + dnew[1] * weights[0]
    da = dh * tanh_slope(new[0])
    by_leak = dnew[1] * (new[0] - state[1])
    return (da,), (da,), (zero(da), dnew[1] - dnew[1] * weights[0]), (by_leak,)


READOUT = gpurnn.cells.Cell(
    "readout", 1, 2, 0, forward_readout, backward_readout, weights=("weight_leak",), output=1
)


def test_a_cell_of_ones_own_with_a_weight_and_another_output():
    """The output is a leaky mean of the hidden states, the leak a parameter of each unit."""
    layer = Recurrent(READOUT, 2, 3, dtype="float64", rng=0)
    assert layer.params["weight_leak_l0"].shape == (3,)
    x = np.random.default_rng(1).standard_normal((4, 5, 2))
    y, (h, mean) = layer(x)
    np.testing.assert_array_equal(y[-1], mean[0])
    h_expected, mean_expected = np.zeros((2, 5, 3))
    w = layer.params
    for t in range(4):
        sums = x[t] @ w["weight_ih_l0"].T + h_expected @ w["weight_hh_l0"].T
        h_expected = np.tanh(sums + w["bias_ih_l0"] + w["bias_hh_l0"])
        mean_expected = mean_expected + w["weight_leak_l0"] * (h_expected - mean_expected)
        np.testing.assert_allclose(y[t], mean_expected, rtol=1e-12)
    np.testing.assert_allclose(h[0], h_expected, rtol=1e-12)


ONE_PHASE = [
    READOUT,
    gpurnn.cells.LSTM_PEEPHOLES,
    gpurnn.cells.LSTM_COUPLED,
    gpurnn.cells.LSTM_COUPLED_PEEPHOLES,
    zoneout(gpurnn.cells.RNN_TANH),
    zoneout(gpurnn.cells.LSTM),
    recurrent_dropout(gpurnn.cells.GRU_RESET_AFTER),
    recurrent_dropout(zoneout(gpurnn.cells.LSTM_PEEPHOLES, 2)),
    zoneout(recurrent_dropout(gpurnn.cells.LSTM_COUPLED), 2),
]


@pytest.mark.parametrize("cell", ONE_PHASE, ids=lambda cell: cell.name)
def test_backward_is_the_gradient_of_forward(cell):
    """Of the cell's own functions, in plain Python on five units."""
    rng, forward = np.random.default_rng(1), forward_of(cell)
    sizes = (cell.gates, cell.gates, cell.states, cell.extras)
    x, h, state, extra = [rng.standard_normal((size, 5)) for size in sizes]
    dnew = rng.standard_normal((cell.states, 5))

    def run():
        return forward(tuple(x), tuple(h), tuple(state), (), tuple(extra))

    new, saved = run()
    assert (len(new), len(saved)) == (cell.states, cell.saved)
    dx, dh, dstate, dweights = backward_of(cell)(
        saved, tuple(state), new, tuple(dnew), tuple(extra)
    )
    weights = extra[: len(cell.weights)]
    for array, gradient, what in zip(
        (x, h, state, weights), (dx, dh, dstate, dweights), ("x", "h", "state", "weights")
    ):
        if array.size:
            assert_is_gradient(np.stack(gradient), lambda: np.sum(run()[0] * dnew), array, what)


def test_inference_takes_zoneouts_expectation_and_drops_nothing():
    """By steps, and with reduced weights, too."""
    rates = {"zoneout": (0.5, 0.25), "recurrent_dropout": 0.5}
    layer = gpurnn.LSTM(2, 3, rng=0, peepholes=True, **rates)
    x = np.random.default_rng(1).standard_normal((3, 2, 2), np.float32)
    means = [np.full((3, 3), 1 - rate) for rate in layer.zoneout]
    cell = reference_units.Noisy(reference_units.Peepholes, means, np.ones(3))
    nothing = (np.zeros((2, 3)),) * 2
    y_expected, expected = reference_units.run(
        [cell] * 2, parameters_of(layer, "_l0"), x, nothing, (3, 3), False
    )
    y, state = layer(x)
    assert_close(y, y_expected, "float32", "y")
    assert_states_close(state, [part[None] for part in expected], "float32", "state")
    stream, reduced = layer.stream(2), layer.reduced()
    assert_close(np.stack([stream.step(x[t]) for t in range(3)]), y_expected, "float32", "steps")
    layer.params["weight_co_l0"][...] = 9  # which the copy does not follow
    np.testing.assert_allclose(reduced(x)[0], y_expected, atol=0.01)


def test_masks_have_the_share_asked_for(device):
    kernels = kernels_of(device)
    mask = get(kernels.random_mask((40, 50), 0.25, 2, 3, np.dtype("float32")))
    assert set(np.unique(mask)) == {0, 2}
    assert abs(np.mean(mask == 0) - 0.25) < 0.05  # five standard deviations of 2000 draws
    np.testing.assert_array_equal(mask, reference_units.drawn_masks(Fixed(3), 0.25, (40, 50), 2))


class Fixed:
    """A generator that gives one seed."""

    def __init__(self, seed):
        self.integers = lambda limit: seed


def test_recurrent_dropout_is_pytorch_with_columns_dropped():
    """For one sequence: the recurrent weights' columns are what the mask multiplies."""
    torch = pytest.importorskip("torch")
    layer = gpurnn.LSTM(2, 3, dtype="float64", rng=0, recurrent_dropout=0.5)
    x, dy = np.random.default_rng(1).standard_normal((2, 6, 1, 3))
    x = x[:, :, :2].copy()
    assert not np.array_equal(layer.forward(x)[0], layer.forward(x)[0])  # masks drawn anew
    layer.rng = np.random.default_rng(SEED)
    y, _, backward = layer.forward(x)
    dx, _ = backward(dy)
    seen = reference_units.drawn_masks(np.random.default_rng(SEED), 0.5, (1, 3), 2)
    assert 0 < seen.mean() < 2

    theirs = torch.nn.LSTM(2, 3, dtype=torch.float64)
    dropped = layer.state_dict() | {"weight_hh_l0": layer.params["weight_hh_l0"] * seen}
    theirs.load_state_dict({name: torch.from_numpy(a) for name, a in dropped.items()})
    x_theirs = torch.from_numpy(x).requires_grad_()
    y_theirs, _ = theirs(x_theirs)
    (y_theirs * torch.from_numpy(dy)).sum().backward()
    assert_close(y, y_theirs.detach().numpy(), "float64", "y")
    assert_close(dx, x_theirs.grad.numpy(), "float64", "dx")
    for name, parameter in theirs.named_parameters():
        gradient = parameter.grad.numpy() * (seen if name == "weight_hh_l0" else 1)
        assert_close(layer.grads[name], gradient, "float64", name)


def test_kernels_of_transformed_cells_are_told_apart():
    cells = [gpurnn.cells.LSTM, gpurnn.cells.LSTM_COUPLED, gpurnn.cells.GRU_RESET_BEFORE]
    made = [c for cell in cells for c in (cell, zoneout(cell), recurrent_dropout(cell))]
    made += [zoneout(gpurnn.cells.LSTM, 2), recurrent_dropout(zoneout(gpurnn.cells.LSTM))]
    texts = [text_of_cell(cell) for cell in made]
    assert len(set(texts)) == len(texts)
    assert not any(" at 0x" in text for text in texts)  # an address is another in every process
    assert zoneout(gpurnn.cells.LSTM) is zoneout(gpurnn.cells.LSTM)


@pytest.mark.parametrize("wrong", [-0.1, 1, "0.5", True, None, float("nan")], ids=str)
@pytest.mark.parametrize("option", ["zoneout", "recurrent_dropout"])
def test_bad_probabilities(option, wrong):
    with pytest.raises(ValueError, match=f"{option}: expected a number from 0 to below 1, got"):
        gpurnn.LSTM(2, 3, **{option: wrong})


def test_bad_cells():
    with pytest.raises(ValueError, match="zoneout: expected a probability for each of 1 states"):
        gpurnn.GRU(2, 3, zoneout=(0.1, 0.1))
    with pytest.raises(ValueError, match="output: expected the number of one of 1 states, got 1"):
        replace(gpurnn.cells.RNN_TANH, output=1)
    with pytest.raises(ValueError, match="weights: expected none of a two-phase cell, got weight_"):
        replace(gpurnn.cells.GRU_RESET_BEFORE, weights=("weight_x",))
    with pytest.raises(ValueError, match="cell: expected one without masks of its own, got 'rnn_t"):
        Recurrent(replace(gpurnn.cells.RNN_TANH, masks=1), 2, 3)


def test_a_normalised_layer_takes_steps(device):
    layer = CASES["normalised GRU of two phases"].layer().to(device)
    x = put(np.random.default_rng(1).standard_normal((3, 2, 2)), device)
    y, _ = layer(x)
    stream = layer.stream(2)
    steps = [get(stream.step(x[t])) for t in range(3)]
    np.testing.assert_allclose(steps, get(y), rtol=1e-12)


@pytest.mark.cuda
def test_no_persistent_schedule_with_layer_norm():
    layer = gpurnn.LSTM(2, 3, layer_norm=True, device="cuda")
    gpurnn.cuda.schedule("persistent")
    try:
        with pytest.raises(RuntimeError, match="schedule cannot run lstm_layer_norm with hidden"):
            layer(put(np.ones((2, 1, 2), np.float32), "cuda"))
    finally:
        gpurnn.cuda.schedule("auto")


def test_what_is_not_there_with_layer_norm():
    layer = gpurnn.GRU(2, 3, layer_norm=True)
    assert layer.params["gain_ih_l0"].shape == layer.params["gain_hh_l0"].shape == (9,)
    with pytest.raises(ValueError, match="layer: expected one without layer_norm, got 'gru_after"):
        gpurnn.RTRL(layer, 1)
    with pytest.raises(ValueError, match="reduced: expected a layer without layer_norm"):
        layer.reduced()


@pytest.mark.parametrize(
    "options", [{"peepholes": True}, {"zoneout": 0.1}, {"recurrent_dropout": 0.1}], ids=str
)
def test_rtrl_refuses(options):
    with pytest.raises(ValueError, match="layer: expected a cell without weights of its own"):
        gpurnn.RTRL(gpurnn.LSTM(2, 3, **options), 1)
