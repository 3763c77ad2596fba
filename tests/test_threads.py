"""CPU kernels on any number of threads."""

import multiprocessing
import os
import subprocess
import sys
import threading
import time

import pytest

import gpurnn
from gpurnn.kernels.cpu import threads as pool
from tests.cases import CELLS, Problem, as_state, make_layer, random_numbers
from tests.test_recurrent import check_against_reference

# Large enough to be spread over threads; three do not divide five sequences, nor 100 units.
SPREAD = {"T": 17, "B": 5, "I": 28, "H": 100, "bidirectional": True}


@pytest.fixture
def threads():
    kept = gpurnn.get_num_threads()
    yield gpurnn.set_num_threads
    gpurnn.set_num_threads(kept)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
@pytest.mark.parametrize("cell", CELLS)
def test_every_gradient(cell, ragged, count, threads):
    threads(count)
    assert gpurnn.get_num_threads() == count
    check_against_reference(Problem(cell, ragged=ragged, **SPREAD))


def test_one_sequence_on_many_threads(threads):
    threads(7)
    check_against_reference(Problem("lstm", **{**SPREAD, "B": 1, "T": 60}))


def _infer():
    problem = Problem("lstm", **SPREAD)
    numbers = random_numbers(problem)
    return make_layer(problem, numbers.params)(numbers.x, as_state(numbers.state))[0]


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own(threads):
    threads(2)
    expected = _infer()
    with multiprocessing.get_context("fork").Pool(1) as pool:
        got = pool.apply_async(_infer).get(timeout=60)
    assert (got == expected).all()


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_a_program_ends_with_its_threads(busy):
    """Whatever the threads do then: nothing is said, nothing waited for."""
    program = f"""
import threading, time
import numpy as np, gpurnn
from gpurnn.kernels.cpu.threads import run_parallel
gpurnn.set_num_threads(2)
layer, x = gpurnn.RNN(64, 64), np.zeros((50, 8, 64), np.float32)
for _ in range(20):
    run_parallel(lambda: layer(x), [(), ()])
if {busy}:
    def go_on():
        while True:
            run_parallel(lambda: layer(x), [(), ()])
    def go_on_together():
        one = np.zeros((100, 1, 256), np.float32)
        layer = gpurnn.LSTM(256, 256)
        while True:
            layer(one)
    threading.Thread(target=go_on, daemon=True).start()
    threading.Thread(target=go_on_together, daemon=True).start()
    time.sleep(0.05)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no choice of cores here")
def test_workers_keep_off_the_core_of_their_caller(threads):
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        pytest.skip("one core only")
    threads(2)
    seen = []

    def look():
        seen.append((threading.get_ident(), os.sched_getaffinity(0)))
        time.sleep(0.01)  # so that each call has a thread of its own

    for core in (min(cores), max(cores)):
        pool.run_parallel(look, [(), ()])  # so that there are workers
        pool._workers.placement._core_here = lambda core=core: core
        for _ in range(2):  # the worker may begin after the first
            seen.clear()
            pool.run_parallel(look, [(), ()])
        assert dict(seen)[threading.get_ident()] == cores
        assert {frozenset(a) for t, a in seen if t != threading.get_ident()} == {
            frozenset(cores - {core})
        }


@pytest.mark.parametrize("count", [0, -1, 1.5, "2", True, None])
def test_bad_counts(count):
    kept = gpurnn.get_num_threads()
    with pytest.raises((TypeError, ValueError), match=r"^n\b"):
        gpurnn.set_num_threads(count)
    assert gpurnn.get_num_threads() == kept
