"""What must hold for any sizes: padding, batch order, splitting, reversal; drawn by hypothesis."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    put,
    random_numbers,
)

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]
on_each_device = pytest.mark.parametrize("device", DEVICES)


def problems(device):
    return st.builds(
        Problem,
        cell=st.sampled_from(list(CELLS)),
        T=st.integers(1, 6),
        B=st.integers(1, 5),
        I=st.integers(1, 5),
        H=st.integers(1, 20),
        num_layers=st.integers(1, 2),
        bidirectional=st.booleans(),
        ragged=st.booleans(),
        bias=st.booleans(),
        dtype=st.sampled_from(["float32", "float64"]),
        device=st.just(device),
        seed=st.integers(0, 2**32 - 1),
    )


def holds(device, check, extra=st.none()):
    """`check(problem, value drawn from extra)` for many problems; an emulated device is slow."""
    drawn = given(problem=problems(device), value=extra)(check)
    if device == "cuda":
        drawn = settings(max_examples=4)(drawn)
    drawn()


def train(layer, problem, x, state, lengths, dy, dstate):
    y, final, backward = layer.forward(
        put(x, problem.device), as_state(state, problem.device), lengths
    )
    dx, dinitial = backward(put(dy, problem.device), as_state(dstate, problem.device))
    return get(y), as_parts(final), get(dx), as_parts(dinitial)


def train_all(problem, numbers, **changed):
    layer = make_layer(problem, numbers.params)
    given_numbers = {**vars(numbers), **changed}
    del given_numbers["params"]
    return layer, *train(layer, problem, **given_numbers)


@on_each_device
def test_padding_never_matters(device):
    def check(problem, value):
        numbers = random_numbers(problem)
        layer, y, final, dx, dinitial = train_all(problem, numbers)

        def padded(array):
            filler = np.full((value, *array.shape[1:]), 1e3, array.dtype)
            return np.concatenate([array, filler])

        longer, y_got, final_got, dx_got, dinitial_got = train_all(
            problem, numbers, x=padded(numbers.x), dy=padded(numbers.dy)
        )
        assert_close(y_got[: problem.T], y, problem.dtype, "y")
        assert_close(dx_got[: problem.T], dx, problem.dtype, "dx")
        assert np.all(y_got[problem.T :] == 0) and np.all(dx_got[problem.T :] == 0)
        assert_states_close(final_got, final, problem.dtype, "state")
        assert_states_close(dinitial_got, dinitial, problem.dtype, "dstate")
        assert_grads_close(longer, {k: get(g) for k, g in layer.grads.items()}, problem.dtype)

    holds(device, check, st.integers(1, 4))


@on_each_device
def test_batch_order_never_matters(device):
    def check(problem, value):
        numbers = random_numbers(problem)
        order = np.random.default_rng(value).permutation(problem.B)
        layer, y, final, dx, dinitial = train_all(problem, numbers)
        shuffled, y_got, final_got, dx_got, dinitial_got = train_all(
            problem,
            numbers,
            x=numbers.x[:, order],
            dy=numbers.dy[:, order],
            lengths=numbers.lengths[order],
            state=tuple(part[:, order] for part in numbers.state),
            dstate=tuple(part[:, order] for part in numbers.dstate),
        )
        assert_close(y_got, y[:, order], problem.dtype, "y")
        assert_close(dx_got, dx[:, order], problem.dtype, "dx")
        for part, part_got in zip(final + dinitial, final_got + dinitial_got):
            assert_close(part_got, part[:, order], problem.dtype, "state")
        assert_grads_close(shuffled, {k: get(g) for k, g in layer.grads.items()}, problem.dtype)

    holds(device, check, st.integers(0, 1000))


@on_each_device
def test_chunks_equal_the_whole(device):
    """Carrying the state forward and its gradient backward is the same as one long call."""

    def check(problem, value):
        problem = replace(problem, bidirectional=False, ragged=False, T=problem.T + 1)
        numbers = random_numbers(problem)
        layer, y, final, dx, dinitial = train_all(problem, numbers)
        cut = 1 + value % (problem.T - 1)
        chunked = make_layer(problem, numbers.params)
        x, dy = put(numbers.x, device), put(numbers.dy, device)
        initial, dfinal = as_state(numbers.state, device), as_state(numbers.dstate, device)
        y_one, middle, backward_one = chunked.forward(x[:cut], initial)
        y_two, final_got, backward_two = chunked.forward(x[cut:], middle)
        dx_two, dmiddle = backward_two(dy[cut:], dfinal)
        dx_one, dinitial_got = backward_one(dy[:cut], dmiddle)
        assert_close(np.concatenate([get(y_one), get(y_two)]), y, problem.dtype, "y")
        assert_close(np.concatenate([get(dx_one), get(dx_two)]), dx, problem.dtype, "dx")
        assert_states_close(final_got, final, problem.dtype, "state")
        assert_states_close(dinitial_got, dinitial, problem.dtype, "dstate")
        assert_grads_close(chunked, {k: get(g) for k, g in layer.grads.items()}, problem.dtype)

    holds(device, check, st.integers(0, 100))


@on_each_device
def test_reverse_direction_is_forward_on_the_reversed_sequence(device):
    """The halves of a bidirectional layer are two layers, each on its own order of the steps."""

    def check(problem, value):
        both = replace(problem, bidirectional=True, num_layers=1)
        one = replace(both, bidirectional=False)
        numbers, H = random_numbers(both), problem.H
        two_way, y, final, dx, dinitial = train_all(both, numbers)

        def turned(array):
            """Each sequence backwards, inside its own length."""
            out = array.copy()
            for b, length in enumerate(numbers.lengths):
                out[:length, b] = array[:length, b][::-1]
            return out

        dx_sum = np.zeros_like(dx)
        for direction, suffix in enumerate(("", "_reverse")):
            order = turned if direction else np.copy
            half = slice(direction * H, (direction + 1) * H)
            names = [n for n in numbers.params if n.endswith("_reverse") == bool(direction)]
            layer = make_layer(one, {n.removesuffix(suffix): numbers.params[n] for n in names})
            y_got, final_got, dx_got, dinitial_got = train(
                layer,
                one,
                order(numbers.x),
                tuple(part[direction : direction + 1] for part in numbers.state),
                numbers.lengths,
                order(numbers.dy[..., half]),
                tuple(part[direction : direction + 1] for part in numbers.dstate),
            )
            assert_close(order(y_got), y[..., half], problem.dtype, "y")
            for got, whole in zip(final_got + dinitial_got, final + dinitial):
                assert_close(got, whole[direction : direction + 1], problem.dtype, "state")
            dx_sum += order(dx_got)
            grads = {n.removesuffix(suffix): get(two_way.grads[n]) for n in names}
            assert_grads_close(layer, grads, problem.dtype)
        assert_close(dx_sum, dx, problem.dtype, "dx")

    holds(device, check)


@on_each_device
def test_agrees_with_the_reference(device):
    def check(problem, value):
        numbers = random_numbers(problem)
        expected = numbers.reference(problem)
        layer, y, final, dx, dinitial = train_all(problem, numbers)
        assert_close(y, expected[0], problem.dtype, "y")
        assert_states_close(final, expected[1], problem.dtype, "state")
        assert_close(dx, expected[2], problem.dtype, "dx")
        assert_states_close(dinitial, expected[3], problem.dtype, "dstate")
        assert_grads_close(layer, expected[4], problem.dtype)

    holds(device, check)
