"""Stacks of different layers against the references of their layers, one above the other."""

import numpy as np
import pytest

import gpurnn
from tests import reference
from tests.cases import as_parts, as_state, assert_close, assert_states_close, get, put
from tests.differences import assert_is_gradient

ON = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]
T, B, LENGTHS = 4, 3, np.array([2, 4, 1])
CELLS = {gpurnn.LSTM: reference.LSTM, gpurnn.GRU: reference.GRUResetAfter}


def make_stack(device="cpu", batch_first=False, residual=True, dropout=0.0):
    """Sizes 6 -> 6 -> 2 * 5 -> 10: layers 0 and 2 can have residual connections, layer 1 not."""
    options = {"dtype": "float64", "device": device}
    layers = [
        gpurnn.LSTM(6, 6, rng=0, **options),
        gpurnn.GRU(6, 5, bidirectional=True, rng=1, **options),
        gpurnn.LSTM(10, 10, rng=2, **options),
    ]
    return gpurnn.Stack(layers, residual=residual, dropout=dropout, batch_first=batch_first, rng=3)


def random_states(stack, rng):
    def parts(layer):
        shape = (layer.num_layers * layer.directions, B, layer.hidden_size)
        return tuple(rng.standard_normal(shape) for _ in range(layer.cell.states))

    return [parts(layer) for layer in stack.layers]


@pytest.fixture
def numbers():
    """x, states, dy, dstates; what lies past the ends must not matter."""
    rng, stack = np.random.default_rng(4), make_stack()
    x, dy = rng.standard_normal((T, B, 6)), rng.standard_normal((T, B, 10))
    past = np.arange(T)[:, None] >= LENGTHS
    x[past], dy[past] = np.nan, np.nan
    return x, random_states(stack, rng), dy, random_states(stack, rng)


class Reference:
    """Layer by layer: y, states, dx, dstates, grads."""

    def __init__(self, stack, x, states, dy, dstates):
        past = np.arange(T)[:, None] >= LENGTHS
        self.y, dy, tapes = np.where(past[..., None], 0, x), np.where(past[..., None], 0, dy), []
        self.states, self.dstates, self.grads = [], [], {}
        for i, layer in enumerate(stack.layers):
            params = {name: get(p) for name, p in layer.params.items()}
            y, final, tape = reference.forward(
                CELLS[type(layer)], params, self.y, states[i], LENGTHS, 1, layer.directions
            )
            self.y = y + self.y if i in stack.residual else y
            self.states.append(final)
            tapes.append(tape)
        for i in reversed(range(len(tapes))):
            dx, dstate, grads = reference.backward(tapes[i], dy, dstates[i])
            dy = dx + dy if i in stack.residual else dx
            self.dstates.insert(0, dstate)
            self.grads |= {f"{i}.{name}": g for name, g in grads.items()}
        self.dx = dy


def on(states, device):
    return tuple(as_state(parts, device) for parts in states)


@pytest.mark.parametrize("device", ON)
@pytest.mark.parametrize("residual", [True, (2,), False], ids=str)
def test_values_and_gradients(residual, device, numbers):
    x, states, dy, dstates = numbers
    stack = make_stack(residual=residual)
    expected = Reference(stack, x, states, dy, dstates)
    stack.to(device)
    x, dy, states, dstates = (
        put(x, device),
        put(dy, device),
        on(states, device),
        on(dstates, device),
    )
    inferred, _ = stack(x, states, LENGTHS)
    y, finals, backward = stack.forward(x, states, LENGTHS)
    assert_close(inferred, expected.y, "float64", "inferred y")
    assert_close(y, expected.y, "float64", "y")
    dx, dinitials = backward(dy, dstates)
    assert_close(dx, expected.dx, "float64", "dx")
    for i in range(3):
        assert_states_close(finals[i], expected.states[i], "float64", f"states[{i}]")
        assert_states_close(dinitials[i], expected.dstates[i], "float64", f"dstates[{i}]")
    assert set(stack.grads) == set(expected.grads)
    for name, gradient in expected.grads.items():
        assert_close(stack.grads[name], gradient, "float64", name)


def test_dropout_spares_the_residual_path_and_has_its_gradient():
    x = np.random.default_rng(5).standard_normal((T, B, 6))

    def run():
        return make_stack(dropout=0.5).forward(x)

    y, _, backward = run()
    assert not np.allclose(y, make_stack()(x)[0])
    np.testing.assert_array_equal(y, run()[0])
    dx, _ = backward(np.ones_like(y))
    assert_is_gradient(dx, lambda: run()[0].sum(), x, "x")
    stack = make_stack(dropout=0.5)
    for name, parameter in stack.params.items():
        if name.startswith("2."):
            parameter[...] = 0  # the last layer adds nothing to what comes from below
    below = gpurnn.Stack(make_stack().layers[:2], residual=True, dropout=0.5, rng=3)
    np.testing.assert_array_equal(stack.forward(x)[0], below.forward(x)[0])


def test_batch_first(numbers):
    x, states, dy, _ = numbers
    y, _, backward = make_stack().forward(x, on(states, "cpu"), LENGTHS)
    dx, _ = backward(dy)
    turned = make_stack(batch_first=True)
    y_turned, _, backward = turned.forward(x.swapaxes(0, 1), on(states, "cpu"), LENGTHS)
    np.testing.assert_array_equal(y_turned.swapaxes(0, 1), y)
    np.testing.assert_array_equal(backward(dy.swapaxes(0, 1))[0].swapaxes(0, 1), dx)


@pytest.mark.parametrize("device", ON)
def test_steps_are_the_sequence(device):
    options = {"dtype": "float64", "device": device}
    stack = gpurnn.Stack(
        [gpurnn.LSTM(6, 6, rng=0, **options), gpurnn.GRU(6, 6, rng=1, **options)], residual=True
    )
    x = put(np.random.default_rng(5).standard_normal((T, B, 6)), device)
    y, final = stack(x)
    stream = stack.stream(B)
    for t in range(T):
        assert_close(stream.step(x[t]), get(y[t]), "float64", f"step {t}")
    for i in range(2):
        assert_states_close(stream.state[i], as_parts(final[i]), "float64", f"states[{i}]")
    stream.state = None
    out = put(np.empty((B, 6)), device)
    assert stream.step(x[0], out) is out
    assert_close(out, get(y[0]), "float64", "the first step again")


def test_state_dict_has_the_names_of_a_module_list():
    torch = pytest.importorskip("torch")
    theirs = torch.nn.ModuleList([torch.nn.LSTM(6, 6), torch.nn.GRU(6, 5, bidirectional=True)])
    ours = gpurnn.Stack([gpurnn.LSTM(6, 6), gpurnn.GRU(6, 5, bidirectional=True)])
    ours.load_state_dict(theirs.state_dict())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x = np.random.default_rng(1).standard_normal((T, B, 6), np.float32)
    with torch.no_grad():
        expected = theirs[1](theirs[0](torch.tensor(x))[0])[0].numpy()
    assert_close(ours(x)[0], expected, "float32", "y")
    theirs.load_state_dict({name: torch.tensor(p) for name, p in ours.state_dict().items()})


LAYER = gpurnn.LSTM(3, 3)


@pytest.mark.parametrize(
    ("layers", "options", "message"),
    [
        ([], {}, "layers: expected at least one, got none"),
        ([LAYER, "x"], {}, r"layers\[1\]: expected a recurrent layer, got str"),
        ([LAYER, LAYER], {}, r"layers\[1\]: expected each layer once, got layers\[0\]"),
        ([LAYER, gpurnn.GRU(4, 3)], {}, r"layers\[1\]: expected input_size 3, .* got 4"),
        ([gpurnn.GRU(3, 3, batch_first=True)], {}, r"layers\[0\]: expected a time-major layer"),
        ([LAYER, gpurnn.GRU(3, 3, dtype="float64")], {}, r"layers\[1\]: expected \('float32'"),
        ([gpurnn.GRU(3, 4)], {"residual": [0]}, r"residual: expected layers\[0\] to keep"),
        ([LAYER], {"residual": [1]}, "residual: expected numbers below 1, got 1"),
        ([LAYER], {"residual": 1}, "residual: expected a bool or layers' numbers, got 1"),
        ([LAYER], {"dropout": 1}, "dropout: expected a number from 0"),
    ],
)
def test_bad_stacks(layers, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        gpurnn.Stack(layers, **options)


def test_bad_calls(numbers):
    x, states, dy, _ = numbers
    stack = make_stack(batch_first=True)
    with pytest.raises(ValueError, match=r"x: expected \(B, T, 6\), got \(3, 4, 7\)"):
        stack(np.ones((3, 4, 7)))
    with pytest.raises(TypeError, match="state: expected a tuple of 3 layers' states, got list of"):
        stack(np.ones((3, 4, 6)), [None])
    with pytest.raises(ValueError, match="lengths: expected 1 to 4, got 5"):
        stack(np.ones((3, 4, 6)), lengths=[5, 1, 1])
    with pytest.raises(ValueError, match=r"dy: expected \(3, 4, 10\), got \(3, 4, 6\)"):
        stack.forward(np.ones((3, 4, 6)))[2](np.ones((3, 4, 6)))
    with pytest.raises(ValueError, match="stream: expected a layer of one direction"):
        stack.stream()
