"""Every recurrent layer on every device against the float64 references: values and gradients."""

from itertools import product

import pytest

from gpurnn.kernels.cpu import products_of_all_steps
from tests.cases import (
    CELLS,
    Problem,
    as_state,
    assert_close,
    assert_grads_close,
    assert_states_close,
    make_layer,
    put,
    random_numbers,
)

DTYPES = ("float32", "float64")
EVERY_STACK = [
    Problem(cell, num_layers=layers, bidirectional=bi, ragged=ragged, bias=bias, dtype=dtype)
    for cell, layers, bi, ragged, bias, dtype in product(
        CELLS, (1, 2), (False, True), (False, True), (True, False), DTYPES
    )
] + [Problem(cell, num_layers=3, bidirectional=True, ragged=True) for cell in CELLS]

# Sizes that fit no vector, no block and no warp; a single sequence, step, input or unit.
SIZES = [(1, 1, 1, 1), (1, 2, 28, 33), (1, 5, 28, 33), (2, 5, 28, 3), (17, 1, 1, 33)]
SIZES += [(17, 5, 28, 100)]
EVERY_SIZE = [
    Problem(cell, *sizes, ragged=ragged, bidirectional=ragged, dtype=dtype)
    for cell, sizes, ragged, dtype in product(CELLS, SIZES, (False, True), DTYPES)
]

# Few, because an emulated device is slow: every two values of every two columns meet in a row.
#   cell, layers, bidirectional, ragged, bias, dtype
PAIRS = [
    ("rnn_tanh", 1, False, False, True, "float32"),
    ("rnn_relu", 1, False, True, False, "float32"),
    ("lstm", 1, True, False, False, "float32"),
    ("gru", 2, False, False, False, "float32"),
    ("gru_before", 2, True, True, True, "float32"),
    ("rnn_tanh", 2, True, True, False, "float64"),
    ("rnn_relu", 2, True, False, True, "float64"),
    ("lstm", 2, False, True, True, "float64"),
    ("gru", 1, True, True, True, "float64"),
    ("gru_before", 1, False, False, False, "float64"),
]
ON_CUDA = [
    Problem(cell, 4, 3, 5, 9, layers, bi, ragged, bias, dtype, "cuda")
    for cell, layers, bi, ragged, bias, dtype in PAIRS
] + [
    Problem("rnn_tanh", 1, 1, 1, 1, device="cuda"),
    Problem("lstm", 2, 1, 28, 33, ragged=True, device="cuda"),
    Problem("gru", 2, 5, 28, 100, ragged=True, device="cuda"),
    Problem("gru_before", 17, 1, 1, 3, bidirectional=True, device="cuda"),
]


def test_pairs_meet():
    """The few rows for CUDA are what they claim to be."""
    columns = list(zip(*PAIRS))
    for i, a in enumerate(columns):
        for b in columns[:i]:
            assert set(zip(a, b)) == set(product(set(a), set(b)))


@pytest.mark.parametrize("problem", EVERY_STACK + EVERY_SIZE, ids=str)
def test_cpu(problem):
    check_against_reference(problem)


@pytest.mark.parametrize(
    "most_bytes, most_unpacked",
    [(0, 0), (0, 1 << 20), (1 << 19, 0)],
    ids=["by units", "by units, unpacked", "by rows"],
)
@pytest.mark.parametrize("cell", ["rnn_tanh", "lstm", "gru", "gru_before"])
def test_threads_share_the_weights_gradients(cell, most_bytes, most_unpacked, monkeypatch):
    """Enough rows for each thread to have some of them, and some left over."""
    monkeypatch.setattr(products_of_all_steps, "MOST_BYTES_APIECE", most_bytes)
    monkeypatch.setattr(products_of_all_steps, "MOST_ROWS_UNPACKED", most_unpacked)
    check_against_reference(Problem(cell, T=67, B=17, I=40, H=41, ragged=True, dtype="float64"))


def test_a_thread_without_rows_has_units():
    check_against_reference(Problem("rnn_tanh", T=1, B=1, I=3, H=2500))


@pytest.mark.cuda
@pytest.mark.parametrize("problem", ON_CUDA, ids=str)
def test_cuda(problem):
    check_against_reference(problem)


@pytest.mark.parametrize("zeros", [slice(None), slice(1, None)], ids=["all", "all but one"])
@pytest.mark.parametrize("steps, batch", [(1, 3), (1, 7), (3, 3), (3, 7)])
@pytest.mark.parametrize("cell", CELLS)
def test_states_of_zeros(cell, steps, batch, zeros):
    """With which nothing is multiplied, if it is all sequences' state."""
    problem = Problem(cell, steps, batch, bidirectional=True, ragged=True)
    numbers = random_numbers(problem)
    for part in numbers.state:
        part[:, zeros] = 0
    check_against_reference(problem, numbers)


def check_against_reference(problem, numbers=None):
    numbers = numbers or random_numbers(problem)
    y, state, dx, dstate, grads = numbers.reference(problem)
    layer = make_layer(problem, numbers.params)
    lengths = numbers.lengths if problem.ragged else None
    x, dy = put(numbers.x, problem.device), put(numbers.dy, problem.device)
    initial = as_state(numbers.state, problem.device)

    y_inferred, state_inferred = layer(x, initial, lengths)
    assert_close(y_inferred, y, problem.dtype, "inferred y")
    assert_states_close(state_inferred, state, problem.dtype, "inferred state")

    layer.zero_grads()
    y_trained, state_trained, backward = layer.forward(x, initial, lengths)
    assert_close(y_trained, y, problem.dtype, "y")
    assert_states_close(state_trained, state, problem.dtype, "state")

    dx_got, dstate_got = backward(dy, as_state(numbers.dstate, problem.device))
    assert_close(dx_got, dx, problem.dtype, "dx")
    assert_states_close(dstate_got, dstate, problem.dtype, "dstate")
    assert_grads_close(layer, grads, problem.dtype)
