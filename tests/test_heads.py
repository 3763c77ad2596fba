"""Recurrent weights of several heads, against full layers whose blocks off the diagonal are 0."""

from dataclasses import dataclass, field

import numpy as np
import pytest

import gpurnn
from tests.cases import as_parts, as_state, assert_close, assert_states_close, put

SEED = 3


@dataclass
class Case:
    """A layer and the sizes of what is fed to it."""

    kind: str
    H: int
    heads: int
    B: int
    options: dict = field(default_factory=dict)
    T: int = 5
    I: int = 4

    def layer(self, heads):
        options = {"num_heads": heads, "dtype": "float64", "rng": SEED}
        return getattr(gpurnn, self.kind)(self.I, self.H, **options, **self.options)


# By rows and by units; heads of a unit, of less and of more than a vector or a warp.
CASES = {
    "one unit": Case("RNN", 6, 6, 2, {"bias": False}),
    "by units": Case("LSTM", 34, 2, 2, {"num_layers": 2, "bidirectional": True}),
    "two phases": Case("GRU", 6, 3, 3, {"reset_after": False}, T=7),
    "noisy": Case(
        "LSTM", 6, 2, 4,
        {
            "coupled": True, "peepholes": True, "zoneout": (0.4, 0.3), "recurrent_dropout": 0.5,
            "recompute": 2, "bidirectional": True,
        },
    ),
    "noisy, two phases": Case(
        "GRU", 70, 2, 4, {"reset_after": False, "zoneout": 0.4, "recurrent_dropout": 0.5}
    ),
}  # fmt: skip


def with_blocks(w, heads):
    """(G H, H / heads) as (G H, H), zeros off the diagonal."""
    size = w.shape[1]
    head = np.arange(len(w)) // size % heads
    full = np.zeros((len(w), heads, size))
    full[np.arange(len(w)), head] = w
    return full.reshape(len(w), -1)


def blocks_of(full, heads):
    """What stands on the diagonal of (G H, H)."""
    size = full.shape[1] // heads
    rows = np.arange(len(full))
    return full.reshape(len(full), heads, size)[rows, rows // size % heads]


def train(layer, case):
    """(y, state, dx, dstate) of random numbers, with the masks of `SEED`."""
    rng = np.random.default_rng(1)
    layer.rng = np.random.default_rng(SEED)
    shape = layer.cell.states, layer.num_layers * layer.directions, case.B, case.H
    state, dstate = (as_state(rng.standard_normal(shape)) for _ in range(2))
    x, dy = (rng.standard_normal((case.T, case.B, width)) for width in (case.I, layer.output_size))
    lengths = np.array([case.T, 1, 3, 2])[: case.B]
    y, state, backward = layer.forward(x, state, lengths)
    return y, state, *backward(dy, dstate)


@pytest.mark.parametrize("name", CASES)
def test_equals_a_full_layer(name):
    case = CASES[name]
    layer, full = case.layer(case.heads), case.layer(1)
    assert layer.params["weight_hh_l0"].shape[1] == case.H // case.heads
    full.load_state_dict(
        {
            name: with_blocks(p, case.heads) if "weight_hh" in name else p
            for name, p in layer.params.items()
        }
    )
    y, state, dx, dstate = train(full, case)
    got = train(layer, case)
    assert_close(got[0], y, "float64", "y")
    assert_states_close(got[1], as_parts(state), "float64", "state")
    assert_close(got[2], dx, "float64", "dx")
    assert_states_close(got[3], as_parts(dstate), "float64", "dstate")
    for name, grad in full.grads.items():
        expected = blocks_of(grad, case.heads) if "weight_hh" in name else grad
        assert_close(layer.grads[name], expected, "float64", name)


def test_stream():
    case = Case("LSTM", 34, 2, 2, {"num_layers": 2})
    layer = case.layer(case.heads)
    x = np.random.default_rng(0).standard_normal((case.T, case.B, case.I))
    y, state = layer(x)
    stream = layer.stream(case.B)
    for step in range(case.T):
        assert_close(stream.step(x[step]), y[step], "float64", f"y[{step}]")
    assert_states_close(stream.state, as_parts(state), "float64", "state")


@pytest.mark.parametrize("heads", [4, 12, 0, 1.5])
def test_bad_number(heads):
    with pytest.raises(ValueError, match="num_heads: expected .* got "):
        gpurnn.GRU(3, 6, num_heads=heads)


def test_what_has_no_heads():
    layer = gpurnn.RNN(3, 6, num_heads=2)
    with pytest.raises(ValueError, match="reduced: expected a layer of one head, got 2"):
        layer.reduced()
    with pytest.raises(ValueError, match="layer: expected one of one head, got 2"):
        gpurnn.RTRL(layer, 1)
    with pytest.raises(ValueError, match="num_heads: expected 1 with layer_norm, got 2"):
        gpurnn.RNN(3, 6, num_heads=2, layer_norm=True)
    with pytest.raises(ValueError, match="num_heads: expected 1 with proj_size, got 2"):
        gpurnn.LSTM(3, 6, num_heads=2, proj_size=2)


@pytest.mark.cuda
def test_cuda_refuses():
    layer = gpurnn.RNN(3, 6, num_heads=2, device="cuda")
    with pytest.raises(ValueError, match="num_heads: expected 1 on 'cuda', got 2"):
        layer(put(np.zeros((1, 1, 3), np.float32), "cuda"))
