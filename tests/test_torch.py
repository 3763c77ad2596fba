"""Values, gradients and state dicts beside PyTorch's layers, where PyTorch is installed."""

import numpy as np
import pytest

import gpurnn
from tests.cases import (
    CELLS,
    Problem,
    as_parts,
    as_state,
    assert_close,
    assert_grads_close,
    assert_states_close,
    make_layer,
    random_numbers,
)

torch = pytest.importorskip("torch")

SHARED = [cell for cell in CELLS if cell != "gru_before"]  # PyTorch has no such GRU
DTYPES = ("float32", "float64")


def torch_layer(problem, **options):
    _, class_name, kind = CELLS[problem.cell]
    kind = {name: value for name, value in kind.items() if name != "reset_after"}
    return getattr(torch.nn, class_name)(
        problem.I,
        problem.H,
        problem.num_layers,
        bidirectional=problem.bidirectional,
        bias=problem.bias,
        dtype=getattr(torch, problem.dtype),
        **kind,
        **options,
    )


def leaf(array):
    return torch.tensor(array, requires_grad=True)


def run_torch(layer, problem, numbers):
    """(y, state, dx, dstate, grads) of PyTorch's autograd, through packed sequences if ragged."""
    x, initial = leaf(numbers.x), tuple(leaf(part) for part in numbers.state)
    rnn = torch.nn.utils.rnn
    given = x
    if problem.ragged:
        given = rnn.pack_padded_sequence(x, torch.tensor(numbers.lengths), enforce_sorted=False)
    y, state = layer(given, initial if len(initial) > 1 else initial[0])
    if problem.ragged:
        y, _ = rnn.pad_packed_sequence(y, total_length=problem.T)
    state = state if isinstance(state, tuple) else (state,)
    loss = (y * torch.tensor(numbers.dy)).sum()
    for part, dpart in zip(state, numbers.dstate):
        loss = loss + (part * torch.tensor(dpart)).sum()
    loss.backward()
    detached = tuple(part.detach().numpy() for part in state)
    grads = {name: p.grad.numpy() for name, p in layer.named_parameters()}
    dstate = tuple(part.grad.numpy() for part in initial)
    return y.detach().numpy(), detached, x.grad.numpy(), dstate, grads


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ragged", [False, True], ids=["full", "packed"])
@pytest.mark.parametrize(
    ("num_layers", "bidirectional", "bias"), [(1, False, True), (2, True, True), (2, False, False)]
)
@pytest.mark.parametrize("cell", SHARED)
def test_recurrent(cell, num_layers, bidirectional, bias, ragged, dtype):
    problem = Problem(cell, 7, 4, 5, 9, num_layers, bidirectional, ragged, bias, dtype)
    numbers = random_numbers(problem)
    theirs = torch_layer(problem)
    ours = make_layer(problem)
    ours.load_state_dict(theirs.state_dict())
    y, state, dx, dstate, grads = run_torch(theirs, problem, numbers)

    lengths = numbers.lengths if ragged else None
    y_got, state_got, backward = ours.forward(numbers.x, as_state(numbers.state), lengths)
    dx_got, dstate_got = backward(numbers.dy, as_state(numbers.dstate))
    assert_close(y_got, y, dtype, "y")
    assert_states_close(state_got, state, dtype, "state")
    assert_close(dx_got, dx, dtype, "dx")
    assert_states_close(dstate_got, dstate, dtype, "dstate")
    assert_grads_close(ours, grads, dtype)


@pytest.mark.parametrize("cell", SHARED)
def test_state_dict_moves_both_ways(cell):
    problem = Problem(cell, num_layers=2, bidirectional=True)
    numbers = random_numbers(problem)
    ours, theirs = make_layer(problem), torch_layer(problem, batch_first=True)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict({k: torch.from_numpy(v) for k, v in ours.state_dict().items()})
    for name, parameter in theirs.state_dict().items():
        np.testing.assert_array_equal(parameter.numpy(), ours.params[name])
    with torch.no_grad():
        y, state = theirs(torch.tensor(numbers.x).transpose(0, 1))
    batch_first = make_layer(problem, theirs.state_dict(), batch_first=True)
    y_got, state_got = batch_first(np.ascontiguousarray(numbers.x.swapaxes(0, 1)))
    assert_close(y_got, y.numpy(), "float32", "y")
    state = tuple(p.numpy() for p in state) if isinstance(state, tuple) else (state.numpy(),)
    assert len(state) == len(as_parts(state_got))
    assert_states_close(state_got, state, "float32", "state")


@pytest.mark.parametrize("dtype", DTYPES)
def test_linear(dtype):
    theirs = torch.nn.Linear(5, 3, dtype=getattr(torch, dtype))
    ours = gpurnn.Linear(5, 3, dtype=dtype)
    ours.load_state_dict(theirs.state_dict())
    rng = np.random.default_rng(1)
    x, dy = (rng.standard_normal((4, 2, size)).astype(dtype) for size in (5, 3))
    given = leaf(x)
    expected = theirs(given)
    expected.backward(torch.tensor(dy))
    y, backward = ours.forward(x)
    assert_close(y, expected.detach().numpy(), dtype, "y")
    assert_close(backward(dy), given.grad.numpy(), dtype, "dx")
    assert_grads_close(ours, {k: p.grad.numpy() for k, p in theirs.named_parameters()}, dtype)


def test_embedding():
    theirs, ours = torch.nn.Embedding(7, 5), gpurnn.Embedding(7, 5)
    ours.load_state_dict(theirs.state_dict())
    indices = np.random.default_rng(1).integers(0, 7, (6, 4))
    dy = np.random.default_rng(2).standard_normal((6, 4, 5)).astype("float32")
    expected = theirs(torch.tensor(indices))
    expected.backward(torch.tensor(dy))
    y, backward = ours.forward(indices)
    np.testing.assert_array_equal(y, expected.detach().numpy())
    backward(dy)
    assert_close(ours.grads["weight"], theirs.weight.grad.numpy(), "float32", "dweight")


def check_loss(ours, theirs, prediction, target, dtype):
    given = leaf(prediction)
    expected = theirs(given, torch.tensor(target))
    expected.backward()
    loss, gradient = ours(prediction, target)
    assert_close(loss, expected.detach().numpy(), dtype, "loss")
    assert_close(gradient, given.grad.numpy(), dtype, "gradient")


@pytest.mark.parametrize("dtype", DTYPES)
def test_losses(dtype):
    functional = torch.nn.functional
    rng = np.random.default_rng(1)
    logits = (3 * rng.standard_normal((12, 5))).astype(dtype)
    marks = rng.integers(0, 5, 12)
    marks[:4] = -100
    numbers = rng.random((12, 5)).astype(dtype)
    check_loss(gpurnn.softmax_cross_entropy, functional.cross_entropy, logits, marks, dtype)
    check_loss(gpurnn.mean_squared_error, functional.mse_loss, logits, numbers, dtype)
    check_loss(
        gpurnn.sigmoid_cross_entropy,
        functional.binary_cross_entropy_with_logits,
        logits,
        numbers,
        dtype,
    )
