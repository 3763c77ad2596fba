"""CPU kernels on any number of threads."""

import multiprocessing

import pytest

import gpurnn
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


@pytest.mark.parametrize("count", [0, -1, 1.5, "2", True, None])
def test_bad_counts(count):
    kept = gpurnn.get_num_threads()
    with pytest.raises((TypeError, ValueError), match=r"^n\b"):
        gpurnn.set_num_threads(count)
    assert gpurnn.get_num_threads() == kept
