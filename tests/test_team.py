"""Few sequences, whose hidden units several threads share at each step."""

import threading
from pathlib import Path

import numpy as np
import pytest

import gpurnn
from gpurnn.kernels.cpu import few_sequences, threads
from gpurnn.kernels.cpu.compiling import kernel
from gpurnn.kernels.cpu.team import join, team_kernel
from gpurnn.kernels.cpu.waiting import LONG_MILLISECONDS, looked_long
from tests.cases import CELLS, Problem, as_parts, as_state, make_layer, random_numbers
from tests.test_recurrent import check_against_reference

# Some units to a thread, and some threads without any; enough steps for latecomers to join.
SHARED = {"T": 70, "I": 5, "H": 37, "bidirectional": True}


@pytest.fixture
def team(monkeypatch):
    """However little there is to do, let threads share it."""
    monkeypatch.setattr(threads, "STEP_WORTH_SHARING", 1)
    monkeypatch.setattr(threads, "STEP_WORTH_SHARING_BACK", 1)
    monkeypatch.setattr(threads, "LOOP_WORTH_SHARING", 0)
    monkeypatch.setattr(threads, "LOOP_WORTH_WAKING", 0)
    for name in ("REST", "LONGEST_REST", "_rest"):
        monkeypatch.setattr(threads, name, 0)
    kept = gpurnn.get_num_threads()
    yield gpurnn.set_num_threads
    gpurnn.set_num_threads(kept)


def run(problem, **options):
    numbers = random_numbers(problem)
    layer = make_layer(problem, None if options else numbers.params, **options)
    y, state, backward = layer.forward(numbers.x, as_state(numbers.state), numbers.lengths)
    dx, dstate = backward(numbers.dy, as_state(numbers.dstate))
    return [y, *as_parts(state), dx, *as_parts(dstate), *layer.grads.values()]


@pytest.mark.parametrize("count", [2, 3, 8])
@pytest.mark.parametrize("batch,ragged", [(1, False), (3, True)], ids=["one", "three-ragged"])
@pytest.mark.parametrize("cell", CELLS)
def test_every_gradient(cell, batch, ragged, count, team):
    team(count)
    check_against_reference(Problem(cell, B=batch, ragged=ragged, **SHARED))


@pytest.mark.parametrize(
    "cell, options",
    [("lstm", {}), ("gru_before", {})]
    + [(cell, {"layer_norm": True}) for cell in ("lstm", "gru", "gru_before")],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_the_same_bits_whoever_comes_when(cell, options, team):
    problem = Problem(cell, B=2, ragged=True, **SHARED)
    team(1)
    alone = run(problem, **options)
    for count in (2, 4) * 10:
        team(count)
        for got, expected in zip(run(problem, **options), alone, strict=True):
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("cell", ["lstm", "gru_before"])
def test_packed_weights_are_shared_too(cell, team, monkeypatch):
    monkeypatch.setattr(few_sequences, "BYTES_WORTH_PACKING", 0)
    problem = Problem(cell, B=2, ragged=True, **SHARED)
    numbers = random_numbers(problem)
    layer = make_layer(problem, numbers.params)
    frozen = layer.frozen()
    told = numbers.x, as_state(numbers.state), numbers.lengths
    team(1)
    expected, alone = layer(*told)[0], frozen(*told)[0]
    np.testing.assert_allclose(alone, expected, rtol=0, atol=3e-6)
    for count in (2, 3) * 10:
        team(count)
        np.testing.assert_array_equal(frozen(*told)[0], alone)


@kernel("test_team looked_long")
def _looked_long(board):
    return looked_long(board, 0, 1)


def test_waits_are_long_by_the_clock():
    """However seldom one has looked: who yields a core that others want looks once in 4 ms."""
    board = np.ones(1, np.int64)
    assert not _looked_long(board)
    board[0] = 0
    threading.Timer(0.05 + 2 * LONG_MILLISECONDS / 1000, board.__setitem__, (0, 1)).start()
    assert _looked_long(board)


def test_teams_at_once_do_not_wait_for_each_other(team):
    """More teams than there are threads to join them: each leader goes on alone."""
    problem = Problem("lstm", B=1, **SHARED)
    team(3)
    expected, results = run(problem), []
    callers = [
        threading.Thread(target=lambda: results.extend(run(problem) for _ in range(5)))
        for _ in range(6)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(timeout=120)
    assert len(results) == 30
    for result in results:
        for got, wanted in zip(result, expected, strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_a_leader_that_fails_leaves_nobody_waiting(team):
    """Followers that have come, and were never let in, go home."""
    team(3)

    @team_kernel(f"a_leader_that_fails {Path(__file__).stat().st_mtime_ns}")
    def work(leads, crew, board):
        if leads:
            raise ValueError("failed")
        join(board, leads)

    for _ in range(20):
        with pytest.raises(MemoryError):
            threads.run_team(work, 3, True, ())
