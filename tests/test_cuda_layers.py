"""Several layers in one CUDA launch: against the references, the CPU, and one layer at a time."""

from dataclasses import replace

import numpy as np
import pytest

import gpurnn
from tests.cases import Problem, get, make_layer, put, random_numbers
from tests.test_cuda_schedules import launched_together
from tests.test_recurrent import check_against_reference

pytestmark = pytest.mark.cuda


@pytest.fixture
def grids(monkeypatch):
    """The grids of the cooperative launches, with the persistent schedule wanted."""
    gpurnn.cuda.schedule("persistent")
    yield launched_together(monkeypatch)
    gpurnn.cuda.schedule("auto")


def layers_of(grids):
    return [grid[2] for grid in grids]


PROBLEMS = [
    Problem("lstm", 17, 1, 3, 33, num_layers=2, ragged=True, device="cuda"),
    Problem("lstm", 2, 5, 4, 100, num_layers=3, bias=False, device="cuda"),
    Problem("gru", 5, 64, 3, 33, num_layers=2, ragged=True, device="cuda"),
    Problem("gru", 2, 5, 4, 3, num_layers=4, dtype="float64", device="cuda"),
    Problem("rnn_tanh", 17, 5, 2, 1, num_layers=3, ragged=True, device="cuda"),
    Problem("rnn_relu", 2, 3, 4, 36, num_layers=2, dtype="float64", device="cuda"),
    Problem("lstm", 3, 5, 4, 33, num_layers=2, ragged=True, dtype="float16", device="cuda"),
    Problem("gru", 3, 17, 4, 40, num_layers=2, dtype="bfloat16", device="cuda"),
]


@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
def test_layers_are_one_launch_and_right(problem, grids):
    check_against_reference(problem)
    assert layers_of(grids) == [problem.num_layers] * 3, "inference, forward, backward"


def test_layers_left_over_are_launched_alone(grids):
    check_against_reference(
        Problem("rnn_tanh", 6, 5, 3, 12, num_layers=5, ragged=True, device="cuda")
    )
    assert layers_of(grids) == [4, 1] * 2 + [1, 4]


# tile_rows, units, sequences of a block, rows of a pass, parts
@pytest.mark.parametrize("shape", [(1, 8, 7, 2, 2), (4, 16, 13, 8, 1), (8, 24, 13, 8, 2)], ids=str)
def test_layouts(shape, grids, monkeypatch):
    """The numbers do not depend on how the work is laid out: several blocks, groups and passes."""
    from gpurnn.kernels.cuda import choosing, plans, schedules

    tile_rows, units, group_rows, rows, parts = shape
    schedules._plans.cache_clear()

    def plan_of(*sizes):
        layout = units, group_rows, tile_rows, parts, rows
        plan = plans.plan_of(*sizes[:6], *layout, *sizes[6:])
        return replace(plan, cycles=plan.cycles / plan.layers**2)  # to be the quickest

    monkeypatch.setattr(choosing, "persistent_plan", plan_of)
    check_against_reference(
        Problem("lstm", 3, 13, 2, 133, num_layers=2, ragged=True, device="cuda")
    )
    assert set(layers_of(grids)) == {2}
    schedules._plans.cache_clear()


@pytest.mark.parametrize("options", [{}, {"zoneout": (0.2, 0.1)}], ids=["plain", "zoneout"])
@pytest.mark.parametrize("cell", ["LSTM", "Peepholes"])
def test_training_with_noise_is_as_on_the_cpu(cell, options, grids):
    """Dropout between the layers drops the same numbers inside a launch, forward and back."""
    kind = gpurnn.cells.LSTM_PEEPHOLES if cell == "Peepholes" else gpurnn.cells.LSTM
    rng, found = np.random.default_rng(3), []
    x, dy = rng.standard_normal((5, 3, 4)), rng.standard_normal((5, 3, 7))
    lengths = np.array([5, 2, 4])
    for device in ("cpu", "cuda"):
        layer = gpurnn.Recurrent(
            kind, 4, 7, 3, dropout=0.4, dtype="float64", rng=1, device=device, **options
        )
        y, state, backward = layer.forward(put(x, device), lengths=lengths)
        dx, dstate = backward(put(dy, device))
        arrays = [y, *state, dx, *dstate, *layer.grads.values()]
        found.append([get(array) for array in arrays])
    assert layers_of(grids) == [3, 3]
    assert np.abs(layer(put(x, "cuda"), lengths=lengths)[0].get() - found[1][0]).max() > 1e-3
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    ("cell", "options"),
    [
        ("gru_before", {}),
        ("lstm", {"bidirectional": True}),
        ("lstm", {"num_heads": 2}),
        ("lstm", {"recompute": 2}),
        ("lstm", {"recurrent_dropout": 0.5}),
    ],
    ids=str,
)
def test_what_cannot_be_stacked_is_run_one_by_one(cell, options, grids):
    problem = Problem(cell, 4, 2, 3, 6, num_layers=2, device="cuda")
    layer = make_layer(problem, **options)
    y, _, backward = layer.forward(put(random_numbers(problem).x, "cuda"))
    backward(y)
    together = 2 if options.keys() & {"num_heads", "bidirectional"} else 1
    assert len(grids) >= 4 and set(layers_of(grids)) == {together}


def test_layers_that_do_not_fit_together_come_one_after_the_other(grids, monkeypatch):
    """The device has room for the weights of one layer, 24 blocks with those of 8 units."""
    from gpurnn.kernels.cuda import schedules

    device = replace(schedules.device_here(0), multiprocessors=30, shared_bytes=40 * 1024)
    monkeypatch.setattr(schedules, "device_here", lambda number: device)
    schedules._plans.cache_clear()
    check_against_reference(Problem("lstm", 2, 2, 3, 192, num_layers=2, device="cuda"))
    assert layers_of(grids) == [1] * 6
    schedules._plans.cache_clear()


def test_stepwise_runs_one_layer_after_the_other(grids):
    gpurnn.cuda.schedule("stepwise")
    check_against_reference(Problem("lstm", 3, 2, 3, 5, num_layers=2, device="cuda"))
    assert not grids


def test_weights_are_read_anew_by_every_call(grids):
    """Nothing of a call is left for the next, on whose stream it may be."""
    import cupy

    problem = Problem("lstm", 4, 3, 4, 6, num_layers=3, device="cuda")
    numbers = random_numbers(problem)
    layer, x = make_layer(problem, numbers.params), put(numbers.x, "cuda")
    first = layer(x)[0].get()
    for name in ("weight_ih_l2", "weight_hh_l1"):
        layer.params[name] *= 0.5
    with cupy.cuda.Stream(non_blocking=True) as stream:
        y = layer(x)[0]
    stream.synchronize()
    gpurnn.cuda.schedule("stepwise")
    np.testing.assert_allclose(y.get(), layer(x)[0].get(), rtol=0, atol=1e-6)
    assert np.abs(y.get() - first).max() > 1e-3


def test_it_says_so():
    gpurnn.cuda.schedule("persistent")
    try:
        line = gpurnn.cuda.explain_schedule(gpurnn.cells.LSTM, 64, 4, 100, num_layers=3)
        assert line.startswith("3 layers at once, persistent on")
        line = gpurnn.cuda.explain_schedule(gpurnn.cells.GRU_RESET_BEFORE, 64, 4, 100, num_layers=3)
        assert line.startswith("one by one, each persistent on")
    finally:
        gpurnn.cuda.schedule("auto")
    with pytest.raises(ValueError, match="num_layers"):
        gpurnn.cuda.explain_schedule(gpurnn.cells.LSTM, 64, 4, 100, num_layers=0)
