"""What every recurrent layer promises beside its numbers: on every device, for every cell."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from tests.cases import (
    CELLS,
    Problem,
    as_parts,
    as_state,
    assert_close,
    assert_grads_close,
    assert_states_close,
    get,
    make_layer,
    parameter_shapes,
    put,
    random_numbers,
)

pytestmark = pytest.mark.parametrize("cell", CELLS)


def problem_of(cell, device, **changed):
    stack = {"num_layers": 2, "bidirectional": True, "ragged": True}
    return Problem(cell, 5, 3, 4, 6, device=device, **{**stack, **changed})


def train(layer, problem, numbers, **changed):
    """One forward and backward of the numbers: everything that comes out, as NumPy."""
    given = {**vars(numbers), **changed}
    y, state, backward = layer.forward(
        put(given["x"], problem.device), as_state(given["state"], problem.device), given["lengths"]
    )
    dx, dstate = backward(
        put(given["dy"], problem.device), as_state(given["dstate"], problem.device)
    )
    return get(y), *as_parts(state), get(dx), *as_parts(dstate)


def assert_same(actual, expected):
    assert len(actual) == len(expected)
    for a, b in zip(actual, expected):
        np.testing.assert_array_equal(a, b)


def test_parameters(cell, device):
    problem = problem_of(cell, device)
    layer = make_layer(problem)
    shapes = parameter_shapes(problem)
    assert {name: p.shape for name, p in layer.params.items()} == shapes
    assert {name: g.shape for name, g in layer.grads.items()} == shapes
    assert all(p.dtype == problem.dtype for p in [*layer.params.values(), *layer.grads.values()])
    assert all(np.all(get(g) == 0) for g in layer.grads.values())
    weights = [get(p) for name, p in layer.params.items() if name.startswith("weight")]
    assert all(len(np.unique(w)) > w.size // 2 for w in weights), "not random"


def test_same_seed_same_bits(cell, device):
    problem = problem_of(cell, device)
    numbers = random_numbers(problem)
    first, second = make_layer(problem), make_layer(problem)
    other = make_layer(replace(problem, seed=2))
    assert_same(list(first.state_dict().values()), list(second.state_dict().values()))
    assert not np.array_equal(
        first.state_dict()["weight_hh_l1"], other.state_dict()["weight_hh_l1"]
    )
    assert_same(train(first, problem, numbers), train(second, problem, numbers))
    assert_same([get(g) for g in first.grads.values()], [get(g) for g in second.grads.values()])


def test_inference_equals_forward(cell, device):
    problem = problem_of(cell, device)
    numbers = random_numbers(problem)
    layer = make_layer(problem, numbers.params)
    x, state = put(numbers.x, device), as_state(numbers.state, device)
    y, final = layer(x, state, numbers.lengths)
    y_trained, final_trained, _ = layer.forward(x, state, numbers.lengths)
    assert_close(y, get(y_trained), "float32", "y")
    assert_states_close(final, as_parts(final_trained), "float32", "state")


def test_backward_adds(cell, device):
    problem = problem_of(cell, device)
    numbers = random_numbers(problem)
    *_, grads = numbers.reference(problem)
    layer = make_layer(problem, numbers.params)
    train(layer, problem, numbers)
    train(layer, problem, numbers)
    assert_grads_close(layer, {name: 2 * g for name, g in grads.items()}, "float32")
    layer.zero_grads()
    assert all(np.all(get(g) == 0) for g in layer.grads.values())


def test_two_forwards_before_their_backwards(cell, device):
    """Nothing that a call returned or kept is overwritten by a later call."""
    problem = problem_of(cell, device)
    one, two = random_numbers(problem), random_numbers(replace(problem, seed=2))
    expected = one.reference(problem)
    layer = make_layer(problem, one.params)
    x, state = put(one.x, device), as_state(one.state, device)
    y, final, backward = layer.forward(x, state, one.lengths)
    train(layer, problem, two)
    layer(put(two.x, device))
    layer.zero_grads()
    dx, dstate = backward(put(one.dy, device), as_state(one.dstate, device))
    assert_close(y, expected[0], "float32", "y")
    assert_states_close(final, expected[1], "float32", "state")
    assert_close(dx, expected[2], "float32", "dx")
    assert_states_close(dstate, expected[3], "float32", "dstate")
    assert_grads_close(layer, expected[4], "float32")


def test_parameters_changed_in_place_count(cell, device):
    """What a kernel keeps of the weights follows them."""
    problem = problem_of(cell, device, ragged=False)
    numbers = random_numbers(problem)
    layer = make_layer(problem, numbers.params)
    train(layer, problem, numbers)
    for name in layer.params:
        layer.params[name] *= 0.5
        numbers.params[name] = numbers.params[name] * np.float32(0.5)
    layer.params["weight_hh_l0"][0, 0] = 2.0
    numbers.params["weight_hh_l0"][0, 0] = 2.0
    y, _, dx, _, _ = numbers.reference(problem)
    inferred, _ = layer(put(numbers.x, device), as_state(numbers.state, device))
    assert_close(inferred, y, "float32", "inferred y")
    out = train(layer, problem, numbers)
    assert_close(out[0], y, "float32", "y")
    assert_close(out[1 + len(numbers.state)], dx, "float32", "dx")


def test_batch_first(cell, device):
    problem = problem_of(cell, device)
    numbers = random_numbers(problem)
    expected = train(make_layer(problem, numbers.params), problem, numbers)
    layer = make_layer(problem, numbers.params, batch_first=True)
    turned = {name: np.swapaxes(getattr(numbers, name), 0, 1).copy() for name in ("x", "dy")}
    y, *rest = train(layer, problem, numbers, **turned)
    dx = 1 + len(numbers.state)
    assert_same([np.swapaxes(y, 0, 1), *rest[: dx - 1]], expected[:dx])
    assert_same([np.swapaxes(rest[dx - 1], 0, 1), *rest[dx:]], expected[dx:])
    inferred, _ = layer(put(turned["x"], device), as_state(numbers.state, device), numbers.lengths)
    assert_close(inferred, get(y), "float32", "inferred y")


def test_no_state_is_zeros(cell, device):
    problem = problem_of(cell, device)
    numbers = random_numbers(problem)
    layer = make_layer(problem, numbers.params)
    x, dy = put(numbers.x, device), put(numbers.dy, device)
    zeros = tuple(np.zeros_like(part) for part in numbers.state)
    expected = train(layer, problem, numbers, state=zeros, dstate=zeros)
    y, state, backward = layer.forward(x, lengths=numbers.lengths)
    dx, dstate = backward(dy)
    assert_same([get(y), *as_parts(state), get(dx), *as_parts(dstate)], expected)


def test_given_arrays_are_not_modified(cell, device):
    problem = problem_of(cell, device)
    numbers = random_numbers(problem)
    layer = make_layer(problem, numbers.params)
    given = put((numbers.x, numbers.dy, *numbers.state, *numbers.dstate), device)
    states = len(numbers.state)
    state, dstate = (as_state(part) for part in (given[2 : 2 + states], given[2 + states :]))
    _, _, backward = layer.forward(given[0], state, numbers.lengths)
    backward(given[1], dstate)
    layer(given[0], state, numbers.lengths)
    assert_same(get(given), (numbers.x, numbers.dy, *numbers.state, *numbers.dstate))
    assert_same(list(layer.state_dict().values()), list(numbers.params.values()))


def test_nothing_leaks_out_of_padding(cell, device):
    """Outputs past a sequence's end are zero; NaN there, in x or in dy, reaches nothing."""
    problem = problem_of(cell, device)
    numbers = random_numbers(problem)
    clean, dirty = make_layer(problem, numbers.params), make_layer(problem, numbers.params)
    expected = train(clean, problem, numbers)
    past = np.arange(problem.T)[:, None] >= numbers.lengths
    assert past.any()
    x, dy = numbers.x.copy(), numbers.dy.copy()
    x[past], dy[past] = np.nan, np.nan
    got = train(dirty, problem, numbers, x=x, dy=dy)
    assert_same(got, expected)
    y, dx = got[0], got[1 + len(numbers.state)]
    assert np.all(y[past] == 0) and np.all(dx[past] == 0)
    assert_same([get(g) for g in dirty.grads.values()], [get(g) for g in clean.grads.values()])
    inferred, _ = dirty(put(x, device), as_state(numbers.state, device), numbers.lengths)
    assert_close(inferred, y, "float32", "inferred y")


@pytest.mark.parametrize("form", [list, np.int32, np.int64, np.uint8])
def test_lengths_of_any_integers(cell, form):
    problem = problem_of(cell, "cpu")
    numbers = random_numbers(problem)
    layer = make_layer(problem, numbers.params)
    lengths = numbers.lengths.tolist() if form is list else numbers.lengths.astype(form)
    y, _ = layer(numbers.x, lengths=lengths)
    assert_same([y], [layer(numbers.x, lengths=numbers.lengths)[0]])


def test_arrays_need_not_be_contiguous(cell, device):
    problem = problem_of(cell, device)
    numbers = random_numbers(problem)
    expected = train(make_layer(problem, numbers.params), problem, numbers)

    def strided(array):
        return put(np.repeat(array, 2, axis=-1), device)[..., ::2]

    apart = {name: strided(getattr(numbers, name)) for name in ("x", "dy")}
    apart |= {name: tuple(map(strided, getattr(numbers, name))) for name in ("state", "dstate")}
    assert_same(train(make_layer(problem, numbers.params), problem, numbers, **apart), expected)


def test_moves_between_devices(cell, device):
    problem = problem_of(cell, "cpu")
    numbers = random_numbers(problem)
    expected = numbers.reference(problem)
    layer = make_layer(problem, numbers.params)
    assert layer.to(device) is layer and layer.device == device
    there = replace(problem, device=device)
    assert_close(train(layer, there, numbers)[0], expected[0], "float32", "y")
    layer.to("cpu")
    assert_grads_close(layer, expected[4], "float32")
    assert all(isinstance(p, np.ndarray) for p in layer.params.values())


def test_inference_in_several_threads(cell):
    problem = problem_of(cell, "cpu")
    numbers = [random_numbers(replace(problem, seed=seed)) for seed in range(4)]
    layer = make_layer(problem, numbers[0].params)
    expected = [layer(n.x, lengths=n.lengths)[0] for n in numbers]
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda n: layer(n.x, lengths=n.lengths)[0], numbers * 8))
    assert_same(got, expected * 8)
