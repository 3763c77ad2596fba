"""Recurrent weights of several heads, against full layers whose blocks off the diagonal are 0."""

from dataclasses import dataclass, field

import numpy as np
import pytest

import gpurnn
from tests.cases import as_parts, assert_close, assert_states_close, get, put

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

    def layer(self, heads, **options):
        options = {"num_heads": heads, "dtype": "float64", "rng": SEED, **options, **self.options}
        return getattr(gpurnn, self.kind)(self.I, self.H, **options)


# By rows and by units; heads of a unit, of less and of more than a vector or a warp.
CASES = {
    "one unit": Case("RNN", 6, 6, 2, {"bias": False}),
    "one product": Case("RNN", 70, 2, 3, {"bidirectional": True}),
    "by units": Case("LSTM", 34, 2, 2, {"num_layers": 2, "bidirectional": True}),
    "two phases": Case("GRU", 6, 3, 3, {"reset_after": False, "bidirectional": True}, T=7),
    "two products": Case("GRU", 70, 2, 3),
    "noisy": Case(
        "LSTM", 6, 2, 4,
        {
            "coupled": True, "peepholes": True, "zoneout": (0.4, 0.3), "recurrent_dropout": 0.5,
            "recompute": 2, "bidirectional": True,
        },
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


def train(layer, case, dtype):
    """(y, state, dx, dstate) of random numbers of a dtype, with the masks of `SEED`."""
    rng = np.random.default_rng(1)
    layer.rng = np.random.default_rng(SEED)

    def numbers(*shape):
        return put(rng.standard_normal(shape).astype(dtype).astype(layer.dtype), layer.device)

    shape = layer.num_layers * layer.directions, case.B, case.H
    states = [[numbers(*shape) for _ in range(layer.cell.states)] for _ in range(2)]
    state, dstate = (parts[0] if len(parts) == 1 else tuple(parts) for parts in states)
    x, dy = (numbers(case.T, case.B, width) for width in (case.I, layer.output_size))
    lengths = np.array([case.T, 1, 3, 2])[: case.B]
    y, state, backward = layer.forward(x, state, lengths)
    return y, state, *backward(dy, dstate)


def check_equals_a_full_layer(case, dtype="float64", device="cpu"):
    """The full layer is one of float64 on the CPU."""
    layer, full = case.layer(case.heads, dtype=dtype, device=device), case.layer(1)
    assert layer.params["weight_hh_l0"].shape[1] == case.H // case.heads
    full.load_state_dict(
        {
            name: with_blocks(get(p), case.heads) if "weight_hh" in name else get(p).astype(float)
            for name, p in layer.params.items()
        }
    )
    y, state, dx, dstate = train(full, case, dtype)
    got = train(layer, case, dtype)
    assert_close(got[0], y, dtype, "y")
    assert_states_close(got[1], as_parts(state), dtype, "state")
    assert_close(got[2], dx, dtype, "dx")
    assert_states_close(got[3], as_parts(dstate), dtype, "dstate")
    for name, grad in full.grads.items():
        expected = blocks_of(grad, case.heads) if "weight_hh" in name else grad
        assert_close(layer.grads[name], expected, dtype, name)


@pytest.mark.parametrize("name", CASES)
def test_equals_a_full_layer(name):
    check_equals_a_full_layer(CASES[name])


@pytest.fixture
def schedule():
    yield gpurnn.cuda.schedule
    gpurnn.cuda.schedule("auto")


@pytest.mark.cuda
@pytest.mark.parametrize(
    ("how", "name", "dtype"),
    [
        ("stepwise", "by units", "float32"),
        ("stepwise", "two phases", "float32"),
        ("persistent", "two products", "float32"),
        ("persistent", "two phases", "float32"),
        ("persistent", "noisy", "float64"),
        ("persistent", "one product", "bfloat16"),
    ],
)
def test_equals_a_full_layer_on_cuda(how, name, dtype, schedule):
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes", reason="bfloat16 needs ml_dtypes")
    schedule(how)
    check_equals_a_full_layer(CASES[name], dtype, "cuda")


@pytest.mark.cuda
def test_schedule_is_explained():
    sizes = gpurnn.cells.LSTM, 4096, 32, 100
    assert gpurnn.cuda.explain_schedule(*sizes).startswith("stepwise")
    assert gpurnn.cuda.explain_schedule(*sizes, num_heads=16).startswith("persistent on 8 × ")
    with pytest.raises(ValueError, match="num_heads: expected a divisor of 4096, got 3"):
        gpurnn.cuda.explain_schedule(*sizes, num_heads=3)
    with pytest.raises(ValueError, match="num_heads: expected an integer of at least 1, got 0"):
        gpurnn.cuda.explain_schedule(*sizes, num_heads=0)


@pytest.mark.parametrize(("kind", "options"), [("LSTM", {}), ("GRU", {"reset_after": False})])
def test_stream(kind, options, device):
    case = Case(kind, 34, 2, 2, {"num_layers": 2, **options})
    layer = case.layer(case.heads, dtype="float32", device=device)
    x = np.random.default_rng(0).standard_normal((case.T, case.B, case.I))
    x = put(x.astype("float32"), device)
    y, state = layer(x)
    stream = layer.stream(case.B)
    for step in range(case.T):
        assert_close(stream.step(x[step]), get(y[step]), "float32", f"y[{step}]")
    assert_states_close(stream.state, as_parts(state), "float32", "state")


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
