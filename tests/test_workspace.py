"""Memory used again must never be two arrays' at a time."""

import gc
import os
import threading

import numpy as np
import pytest

import gpurnn
from gpurnn.kernels.cpu import workspace

FLOAT = np.dtype(np.float32)
STEPS = 4000  # enough for arrays that are worth keeping


@pytest.fixture(autouse=True)
def memory(monkeypatch):
    """None is free at first."""
    fresh = workspace._Memory()
    monkeypatch.setattr(workspace, "_memory", fresh)
    return fresh


def place(array):
    return array.ctypes.data


def test_memory_is_used_again_and_only_once():
    first = workspace.empty((300, 500), FLOAT)
    before = place(first)
    del first
    again, other = workspace.empty((500, 300), FLOAT), workspace.empty((300, 500), FLOAT)
    assert place(again) == before
    assert not np.shares_memory(again, other)


def test_arrays_of_nearly_one_size_use_each_others_memory():
    first = workspace.empty((300, 500), FLOAT)
    before = place(first)
    del first
    assert place(workspace.empty((301, 500), FLOAT)) == before


@pytest.mark.parametrize(
    "view",
    [lambda a: a[5:7], lambda a: a[::3].T, memoryview, np.asarray,
     lambda a: a.base[10:20], lambda a: np.frombuffer(a, np.uint8)],
    ids=["slice", "transposed", "buffer", "same", "bytes", "from buffer"],
)  # fmt: skip
def test_memory_that_someone_still_sees_is_not_used_again(view):
    first = workspace.empty((300, 500), FLOAT)
    first.fill(1)
    seen, before = view(first), place(first)
    del first
    other = workspace.empty((300, 500), FLOAT)
    other.fill(2)
    assert place(other) != before
    assert not np.shares_memory(np.asarray(seen), other)
    del seen, other
    again = [workspace.empty((300, 500), FLOAT) for _ in range(2)]
    assert before in map(place, again)


def test_in_a_cycle_of_garbage():
    """The collector comes at any time."""
    for _ in range(50):
        cycle = [workspace.empty((300, 500), FLOAT)]
        cycle.append(cycle)
    del cycle
    gc.collect()
    a, b = (workspace.empty((300, 500), FLOAT) for _ in range(2))
    assert not np.shares_memory(a, b)


def test_no_more_is_kept_than_told(memory, monkeypatch):
    monkeypatch.setattr(workspace, "_MOST_BYTES", 1 << 20)
    arrays = [workspace.empty((rows, 1000), FLOAT) for rows in (100, 110, 120, 200, 1000)]
    places = list(map(place, arrays))
    while arrays:
        del arrays[0]
    assert 0 < memory._bytes <= 1 << 20
    assert place(workspace.empty((200, 1000), FLOAT)) == places[3]  # the last that fitted


def test_many_threads():
    wrong = []

    def work(number):
        for _ in range(300):
            mine = workspace.empty((100, 400), FLOAT)
            mine.fill(number)
            if (mine != number).any():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_a_fork_memory_is_kept_anew(memory):
    memory._lock.acquire()  # as if another thread had been at it
    child = os.fork()
    if child == 0:
        first = workspace.empty((300, 500), FLOAT)
        before = place(first)
        del first
        os._exit(0 if place(workspace.empty((300, 500), FLOAT)) == before else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_backward_passes_that_are_alive_together_do_not_share_memory():
    layer = gpurnn.LSTM(3, 4, rng=0)
    x = np.random.default_rng(0).standard_normal((2, STEPS, 1, 3)).astype("float32")

    def gradients(i, *others):
        y, _, backward = layer.forward(x[i])
        for other in others:
            layer.forward(x[other])  # its memory is free again at once
        return backward(y)[0]

    alone = [gradients(0), gradients(1)]
    y0, _, backward0 = layer.forward(x[0])
    y1, _, backward1 = layer.forward(x[1])
    np.testing.assert_array_equal(backward1(y1)[0], alone[1])
    np.testing.assert_array_equal(backward0(y0)[0], alone[0])
    np.testing.assert_array_equal(gradients(0, 1, 1), alone[0])


def test_what_a_call_returns_is_the_callers():
    layer = gpurnn.LSTM(3, 16, rng=0)
    x = np.random.default_rng(0).standard_normal((STEPS, 1, 3)).astype("float32")
    y, state = layer(x)
    kept = y.copy(), state[0].copy(), state[1].copy()
    for _ in range(3):
        layer.forward(10 * x)[2](y)
    for now, before in zip((y, *state), kept):
        np.testing.assert_array_equal(now, before)


def test_outputs_lie_where_earlier_ones_did():
    layer = gpurnn.LSTM(3, 16, rng=0)
    x = np.zeros((STEPS, 1, 3), np.float32)
    before = place(layer(x)[0])
    assert place(layer(x)[0]) == before


def test_parameters_begin_with_a_cache_line():
    layer = gpurnn.LSTM(3, 5, dtype="float64")
    layer.load_state_dict(layer.state_dict())
    arrays = [*layer.params.values(), *layer.grads.values()]
    assert [a.ctypes.data % 64 for a in arrays] == [0] * len(arrays)
