"""`check_cell`: right cells pass, and each kind of mistake is named."""

from dataclasses import replace

import numpy as np
import pytest

import gpurnn
from gpurnn.kernels.cells import elman
from gpurnn.kernels.cells.lstm import backward_peepholes
from gpurnn.kernels.cells.recurrent_dropout import recurrent_dropout
from gpurnn.kernels.cells.zoneout import zoneout
from gpurnn.kernels.mathematics import constant, sigmoid, sigmoid_slope, tanh, tanh_slope, zero

CELLS = gpurnn.Cell, gpurnn.TreeCell
BUILT_IN = [cell for cell in vars(gpurnn.cells).values() if isinstance(cell, CELLS)]
MADE = [
    zoneout(gpurnn.cells.LSTM_PEEPHOLES, 2),
    recurrent_dropout(zoneout(gpurnn.cells.GRU_RESET_BEFORE)),
]


@pytest.mark.parametrize("cell", BUILT_IN + MADE, ids=lambda cell: cell.name)
def test_every_cell_of_ours_passes(cell):
    check = gpurnn.check_cell(cell, devices=())
    assert check.points == 64 and 0 < check.largest_error < 1e-6
    assert "none tried" in str(check)


def test_a_layer_is_tried_too(device):
    assert gpurnn.check_cell(gpurnn.cells.RNN_TANH, devices=[device]).devices == (device,)


RNN = gpurnn.cells.RNN_TANH
RANDOM = np.random.default_rng(0)


def _without_slope(saved, state, new, dnew):
    return dnew, dnew, (zero(dnew[0]),)


def _with_literal(x, h, state):
    return (tanh(x[0] + 0.5 * h[0]),), ()


def _with_branch(x, h, state):
    return (x[0] if x[0] > h[0] else h[0],), ()


def _random(x, h, state):
    return (tanh(x[0] + h[0]) * RANDOM.standard_normal(),), ()


def _uneven(x, h, state):
    return (tanh(x[0] + constant(x[0], 2) * h[0]),), ()


def _back_from_uneven(saved, state, new, dnew):
    da = dnew[0] * tanh_slope(new[0])
    return (da,), (constant(da, 2) * da,), (zero(da),)


def _back_with_nan(saved, state, new, dnew):
    da = dnew[0] / zero(dnew[0])
    return (da,), (da,), (zero(da),)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"backward": _without_slope}, ValueError, r"of new\[0\] by x\[0\]: expected"),
        ({"backward": _back_with_nan}, ValueError, r"got (nan|inf)"),
        ({"forward": _with_literal}, TypeError, r"test_check_cell.py:\d+: the number 0.5"),
        ({"forward": _with_branch}, TypeError, "select"),
        ({"forward": _random}, (TypeError, ValueError), "pure|the number"),
        ({"forward": elman.forward_relu}, ValueError, r"of new\[0\]"),
        ({"saved": 1}, ValueError, "forward: saved: expected a tuple of 1 numbers, got 0"),
        ({"forward": lambda x, h, state: tanh(x[0] + h[0])}, ValueError, "forward"),
        ({"forward": lambda x, h: (x, ())}, TypeError, "arguments"),
        ({"forward": _uneven, "backward": _back_from_uneven}, ValueError, "apart"),
        ({"backward": lambda saved, state, new, dnew: (dnew, dnew)}, ValueError,
         r"backward: expected \(dx, dh, dstate\), got 2 results"),
        ({"backward": lambda saved, state, new, dnew: (dnew,) * 4}, ValueError,
         r"backward: expected \(dx, dh, dstate\), got 4 results"),
        ({"backward": lambda saved, state, new: (new,) * 3}, TypeError,
         "backward: expected a function of 4 arguments"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_mistakes_are_named(changes, error, message):
    with pytest.raises(error, match=message):
        gpurnn.check_cell(replace(RNN, **changes), devices=())


def test_an_uneven_cell_that_says_so_passes():
    cell = replace(RNN, forward=_uneven, backward=_back_from_uneven, apart=True)
    gpurnn.check_cell(cell, devices=())


def test_mistakes_of_the_early_phase_are_named():
    def gate_backward(saved, state, carried, dgated):
        return (dgated * state[0] * sigmoid_slope(saved[0]), carried[0]), (zero(dgated),)

    cell = replace(gpurnn.cells.GRU_RESET_BEFORE, gate_backward=gate_backward)
    with pytest.raises(ValueError, match=r"of gated by state\[0\]"):
        gpurnn.check_cell(cell, devices=())


def test_the_gradient_of_weights_is_missed():
    def backward(saved, state, new, dnew, weights):
        return backward_peepholes(saved, state, new, dnew, weights)[:3]

    cell = replace(gpurnn.cells.LSTM_PEEPHOLES, backward=backward)
    with pytest.raises(ValueError, match=r"\(dx, dh, dstate, dweights\), got 3 results"):
        gpurnn.check_cell(cell, devices=())


def test_only_cells_are_checked():
    with pytest.raises(TypeError, match="cell: expected a Cell or a TreeCell, got function"):
        gpurnn.check_cell(sigmoid)
    with pytest.raises(ValueError, match="points"):
        gpurnn.check_cell(RNN, points=0)
