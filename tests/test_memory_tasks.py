"""The adding problem and the copy task: what each sequence must be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpurnn.data.memory_tasks import adding_problem, copy_task


@given(T=st.integers(2, 40), B=st.integers(1, 9), seed=st.integers(0, 99))
def test_adding(T, B, seed):
    x, target = adding_problem(T, B, seed, "float64")
    assert x.shape == (T, B, 2) and target.shape == (B, 1)
    numbers, marks = x[..., 0], x[..., 1]
    assert np.all((0 <= numbers) & (numbers < 1))
    assert np.all(marks[: T // 2].sum(0) == 1) and np.all(marks[T // 2 :].sum(0) == 1)
    for b in range(B):
        first, second = np.flatnonzero(marks[:, b])
        assert target[b, 0] == numbers[first, b] + numbers[second, b]
    for again, value in zip(adding_problem(T, B, seed, "float64"), (x, target)):
        np.testing.assert_array_equal(again, value)


def test_always_one_costs_a_sixth():
    """Five standard errors of the mean: (s - 1)² has the deviation sqrt(7/180), of 0.197."""
    _, target = adding_problem(10, 40_000, 0)
    assert target.dtype == np.float32
    assert abs(np.mean((target - 1.0) ** 2) - 1 / 6) < 5 * np.sqrt(7 / 180 / 40_000)


@given(
    lag=st.integers(1, 30), B=st.integers(1, 9), length=st.integers(1, 6), symbols=st.integers(1, 9)
)
def test_copy(lag, B, length, symbols):
    codes, targets = copy_task(lag, B, 3, length=length, symbols=symbols)
    blank, sign = symbols, symbols + 1
    assert codes.shape == targets.shape == (lag + 2 * length, B)
    np.testing.assert_array_equal(targets[-length:], codes[:length])
    assert np.all(codes[:length] < symbols) and np.all(codes[:length] >= 0)
    assert np.all(targets[:-length] == blank) and np.all(codes[-length:] == blank)
    assert np.all(codes[length + lag - 1] == sign) and np.sum(codes == sign) == B
    assert np.all(codes[length : length + lag - 1] == blank)
    # From when a symbol is heard to when it is to be said again: lag + length steps.
    assert np.all(codes[:length] == targets[lag + length :])


def test_all_symbols_come():
    codes, _ = copy_task(2, 100, 0)
    assert set(codes[:10].ravel()) == set(range(8))


def test_bad_input():
    with pytest.raises(ValueError, match="steps: expected at least 2, got 1"):
        adding_problem(1, 3)
    with pytest.raises(ValueError, match="batch_size: expected an integer of at least 1, got 0"):
        adding_problem(4, 0)
    for name in ("length", "symbols"):
        with pytest.raises(ValueError, match=f"{name}: expected an integer of at least 1, got 0"):
            copy_task(4, 2, **{name: 0})
    with pytest.raises(ValueError, match="lag: expected an integer of at least 1, got 2.5"):
        copy_task(2.5, 2)
    with pytest.raises(TypeError, match="rng: expected None, a seed or a Generator"):
        copy_task(2, 2, "a")
