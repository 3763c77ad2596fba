"""Both CUDA schedules against the references: every tiling, pass and part of a plan; the choice."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

import gpurnn
from tests.cases import CELLS, Problem, get, make_layer, put, random_numbers
from tests.test_recurrent import check_against_reference

pytestmark = pytest.mark.cuda


@pytest.fixture
def schedule():
    yield gpurnn.cuda.schedule
    gpurnn.cuda.schedule("auto")


STEPWISE = [
    Problem("rnn_tanh", 2, 9, 4, 35, device="cuda", dtype="float64"),
    Problem("lstm", 4, 3, 5, 9, bidirectional=True, ragged=True, device="cuda"),
    Problem("gru", 3, 5, 4, 33, ragged=True, device="cuda"),
]
PERSISTENT = [
    Problem("lstm", 17, 1, 3, 33, ragged=True, device="cuda"),
    Problem("lstm", 1, 3, 4, 3, bidirectional=True, device="cuda"),
    Problem("lstm", 2, 64, 3, 60, bidirectional=True, ragged=True, device="cuda"),
    Problem("gru", 2, 5, 4, 100, num_layers=2, ragged=True, device="cuda"),
    Problem("rnn_tanh", 3, 65, 2, 1, device="cuda"),
    Problem("gru_before", 17, 1, 3, 33, ragged=True, device="cuda"),
    Problem("gru_before", 2, 5, 3, 100, bidirectional=True, ragged=True, device="cuda"),
    Problem("gru_before", 2, 70, 2, 1, dtype="float64", device="cuda"),
    Problem("gru", 17, 5, 3, 1, bidirectional=True, ragged=True, dtype="float64", device="cuda"),
]


@pytest.mark.parametrize("problem", STEPWISE, ids=str)
def test_stepwise(problem, schedule):
    schedule("stepwise")
    check_against_reference(problem)


@pytest.mark.parametrize("problem", PERSISTENT, ids=str)
def test_persistent(problem, schedule):
    schedule("persistent")
    check_against_reference(problem)


# tile_rows, units, sequences of a block, rows of a pass, parts
SHAPES = [(1, 8, 2, 1, 1), (1, 24, 7, 2, 2), (4, 16, 13, 12, 1), (8, 8, 13, 8, 2), (8, 32, 7, 8, 1)]


@pytest.mark.parametrize(
    ("cell", "shape"), [*product(["lstm"], SHAPES), ("gru_before", SHAPES[2])], ids=str
)
def test_plans(cell, shape, schedule, monkeypatch):
    """The numbers do not depend on how the work is laid out, only the time does."""
    from gpurnn.kernels.cuda import choosing, plans, schedules

    tile_rows, units, group_rows, rows, parts = shape
    schedules._plans.cache_clear()
    monkeypatch.setattr(
        choosing,
        "persistent_plan",
        lambda *sizes: plans.plan_of(
            *sizes[:6], units, group_rows, tile_rows, parts, rows, *sizes[6:]
        ),
    )
    schedule("persistent")
    check_against_reference(Problem(cell, 3, 13, 2, 133, ragged=True, device="cuda"))
    schedules._plans.cache_clear()


def test_tf32_where_it_is_allowed(schedule, monkeypatch):
    """Close to the strict numbers, but for the rounding of states, gradients and weights."""
    from gpurnn.kernels.cuda import plans

    heights = plans.tile_heights
    monkeypatch.setattr(plans, "tile_heights", lambda *of: heights(*of)[-1:])
    plans.ranked_plans.cache_clear()
    problem = Problem("gru_before", 3, 5, 4, 40, device="cuda")
    numbers, found = random_numbers(problem), {}
    for tf32 in (False, True):
        gpurnn.cuda.allow_tf32(tf32)
        schedule("persistent" if tf32 else "stepwise")
        layer = make_layer(problem, numbers.params)
        y, _, backward = layer.forward(put(numbers.x, "cuda"))
        dx, _ = backward(put(numbers.dy, "cuda"))
        found[tf32] = [y.get(), dx.get(), layer.grads["weight_hh_l0"].get()]
    gpurnn.cuda.allow_tf32(False)
    plans.ranked_plans.cache_clear()
    for rounded, strict in zip(found[True], found[False]):
        error = np.abs(rounded - strict).max() / np.abs(strict).max()
        assert 1e-6 < error < 3e-3


def test_schedules_agree_and_repeat_their_bits(schedule):
    problem = Problem("gru", 5, 6, 4, 40, device="cuda")
    numbers = random_numbers(problem)
    layer, x = make_layer(problem, numbers.params), put(numbers.x, "cuda")
    found = {}
    for name in ("stepwise", "persistent", "auto"):
        schedule(name)
        found[name] = layer(x)[0].get()
        np.testing.assert_array_equal(layer(x)[0].get(), found[name])
    np.testing.assert_allclose(found["stepwise"], found["persistent"], rtol=0, atol=1e-6)


def test_what_cannot_be_persistent_says_so_and_is_stepwise_by_itself(schedule):
    from gpurnn.kernels.cuda import schedules

    def plans(cell, hidden):
        return schedules.plans_here(cell, hidden, 1, 9, np.dtype("float32"), True)

    assert plans(gpurnn.cells.LSTM, 8192) is None
    assert plans(gpurnn.cells.GRU_RESET_BEFORE, 64) is not None
    assert plans(gpurnn.cells.LSTM, 64) is not None
    schedule("stepwise")
    assert plans(gpurnn.cells.LSTM, 64) is None
    schedule("persistent")
    for cell in (gpurnn.cells.LSTM, gpurnn.cells.GRU_RESET_BEFORE):
        with pytest.raises(RuntimeError, match=f"persistent schedule cannot run {cell.name}"):
            plans(cell, 8192)


def launched_together(monkeypatch):
    """The grids of the cooperative launches from now on, a list that grows."""
    from gpurnn.kernels.cuda.launching import Kernel

    grids, real = [], Kernel.launch_together

    def launch(kernel, grid, *arguments):
        grids.append(grid)
        real(kernel, grid, *arguments)

    monkeypatch.setattr(Kernel, "launch_together", launch)
    return grids


def test_both_directions_are_one_launch(schedule, monkeypatch):
    schedule("persistent")
    grids = launched_together(monkeypatch)
    check_against_reference(Problem("lstm", 3, 2, 4, 9, bidirectional=True, device="cuda"))
    assert [grid[2] for grid in grids] == [2, 2, 2], "inference, forward, backward"


@pytest.mark.parametrize("options", [{"recompute": 2}, {"recurrent_dropout": 0.5}], ids=str)
def test_directions_that_cannot_wait_are_launched_alone(options, schedule, monkeypatch):
    schedule("persistent")
    grids = launched_together(monkeypatch)
    problem = Problem("lstm", 3, 2, 4, 9, bidirectional=True, device="cuda")
    layer = make_layer(problem, **options)
    y, _, backward = layer.forward(put(random_numbers(problem).x, "cuda"))
    backward(y)
    assert len(grids) >= 4 and {grid[2] for grid in grids} == {1}


def test_directions_that_do_not_fit_together_come_one_after_the_other(schedule, monkeypatch):
    """The device has room for the weights of one direction, 24 blocks with those of 8 units."""
    from gpurnn.kernels.cuda import schedules

    device = replace(schedules.device_here(0), multiprocessors=30, shared_bytes=40 * 1024)
    monkeypatch.setattr(schedules, "device_here", lambda number: device)
    schedules._plans.cache_clear()
    schedule("persistent")
    grids = launched_together(monkeypatch)
    check_against_reference(Problem("lstm", 2, 2, 3, 192, bidirectional=True, device="cuda"))
    assert [grid[2] for grid in grids] == [1] * 6
    schedules._plans.cache_clear()


def test_device_that_cannot_launch_cooperatively_is_stepwise(schedule, monkeypatch):
    from gpurnn.kernels.cuda import schedules

    device = replace(schedules.device_here(0), cooperative=False)
    monkeypatch.setattr(schedules, "device_here", lambda number: device)
    schedules._plans.cache_clear()
    schedule("auto")
    assert schedules.plans_here(gpurnn.cells.LSTM, 64, 1, 9, np.dtype("float32"), True) is None
    schedules._plans.cache_clear()


def test_unknown_schedule_is_refused(schedule):
    with pytest.raises(ValueError, match="schedule: expected"):
        schedule("fast")
    assert schedule() == "auto"


@pytest.mark.parametrize("cell", ["lstm", "gru_before"])
def test_stepwise_loops_that_come_again_are_graphs(cell, schedule, monkeypatch):
    """With new numbers at the same addresses, and on another stream."""
    import cupy

    from gpurnn.kernels.cuda import graphs

    schedule("stepwise")
    monkeypatch.setattr(graphs, "_graphs", {})
    problem = Problem(cell, 4, 3, 5, 6, device="cuda")
    numbers = random_numbers(problem)
    layer, x = make_layer(problem, numbers.params), put(numbers.x, "cuda")
    dy, found = put(numbers.dy, "cuda"), []
    # A pool of this test alone: what others free, and when, must not move the addresses.
    with cupy.cuda.using_allocator(cupy.cuda.MemoryPool().malloc):
        for call in range(8):
            x *= 0.5
            with cupy.cuda.Stream(non_blocking=True) if call == 7 else cupy.cuda.Stream.null:
                layer.zero_grads()
                y, _, backward = layer.forward(x)
                found.append((y.get(), backward(dy)[0].get(), get(layer.grads["weight_hh_l0"])))
            del y, backward
    assert sum(graph is not None for graph in graphs._graphs.values()) >= 2
    monkeypatch.setattr(graphs, "run", lambda key, launch: launch())
    x[...] = put(numbers.x, "cuda")
    for expected in found:
        x *= 0.5
        layer.zero_grads()
        y, _, backward = layer.forward(x)
        again = (y.get(), backward(dy)[0].get(), get(layer.grads["weight_hh_l0"]))
        for a, b in zip(again, expected):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("cell", CELLS)
def test_runs_on_the_current_stream(cell):
    """The results are there when the caller's own stream has done its work."""
    import cupy

    problem = Problem(cell, 3, 2, 3, 5, device="cuda")
    layer, x = make_layer(problem), put(random_numbers(problem).x, "cuda")
    expected = layer(x)[0].get()
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        y = layer(x)[0]
    stream.synchronize()
    np.testing.assert_array_equal(y.get(), expected)
