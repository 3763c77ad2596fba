"""Cells of which only the way forward is written, against the built-in ones and differences."""

import re

import numpy as np
import pytest

import gpurnn
from bench.own_cell import gru
from gpurnn.kernels.mathematics import (
    absolute,
    exp,
    positive_part,
    select,
    sigmoid,
    softplus,
    sqrt,
    tanh,
)
from tests.cases import assert_close, get, put


def lstm(x, h, state):
    i = sigmoid(x[0] + h[0])
    f = sigmoid(x[1] + h[1])
    g = tanh(x[2] + h[2])
    o = sigmoid(x[3] + h[3])
    c = f * state[1] + i * g
    return o * tanh(c), c


def reset_gate(x, h, state):
    r = sigmoid(x[0] + h[0])
    z = sigmoid(x[1] + h[1])
    return r * state[0], (z,)


def gru_late(x, h, state, kept):
    (z,) = kept
    return (1 - z) * tanh(x[0] + h[0]) + z * state[0]


def lstm_peepholes(x, h, state, extra):
    w_ci, w_cf, w_co = extra
    i = sigmoid(x[0] + h[0] + w_ci * state[1])
    f = sigmoid(x[1] + h[1] + w_cf * state[1])
    g = tanh(x[2] + h[2])
    c = f * state[1] + i * g
    return sigmoid(x[3] + h[3] + w_co * c) * tanh(c), c


def independent(x, h, state, extra):
    """S. Li et al., "Independently recurrent neural network", 2018."""
    return positive_part(x[0] + extra[0] * state[0])


def masked_reset(x, h, state, extra):
    r = sigmoid(x[0] + h[0])
    return extra[0] * r * state[0], ()


def masked_late(x, h, state, kept, extra):
    return state[0] + extra[1] * (tanh(x[0] + h[0]) - state[0])


def everything(x, h, state):
    """Every function and operator a formula may have, with literals."""
    a, b = x[0] + h[0], x[1] - 0.5 * h[1]
    c = sqrt(1 + exp(-absolute(a))) / (2 + b**2) - softplus(b) ** -1
    d = select(a > 0.1, positive_part(b) * a, -tanh(b) / 3)
    return 0.5 * tanh(c + d) + 0.25 * state[0], sigmoid(c) - 0.5 * state[1] * state[0]


def late_of_everything(x, h, state, kept):
    return tanh(x[0] + h[0]) * kept[0] + 0.5 * kept[1], 0.3 * state[1] + exp(-(kept[1] ** 2))


def gate_of_everything(x, h, state):
    a = softplus(x[0] + h[0])
    return tanh(a * state[0]), (sigmoid(a + state[1]), a - 1)


RANDOM = np.random.default_rng(0)

DERIVED = {
    "gru": gpurnn.derive_cell(gru, gates=3),
    "lstm": gpurnn.derive_cell(lstm, gates=4, states=2),
    "gru_before": gpurnn.derive_cell(gru_late, gates=3, late=1, gate=reset_gate),
    "everything": gpurnn.derive_cell(everything, gates=2, states=2),
    "two phases of everything": gpurnn.derive_cell(
        late_of_everything, gates=2, states=2, late=1, gate=gate_of_everything
    ),
}
PEEPHOLES = gpurnn.derive_cell(
    lstm_peepholes, gates=4, states=2, weights=["weight_ci", "weight_cf", "weight_co"]
)
INDEPENDENT = gpurnn.derive_cell(independent, gates=1, weights=["weight_u"])
MASKED = gpurnn.derive_cell(masked_late, gates=2, late=1, gate=masked_reset, masks=2)
BUILT_IN = {
    "gru": gpurnn.cells.GRU_RESET_AFTER,
    "lstm": gpurnn.cells.LSTM,
    "gru_before": gpurnn.cells.GRU_RESET_BEFORE,
}


def gradients_by_differences(cell, inputs, weights, step=1e-5):
    """Of sum(weights * (new, gated)) by every input, at many points at once."""

    def loss(inputs):
        x_early, h_early, x, h, state = inputs
        gated, kept = (0,), ()
        if cell.late:
            value, kept = cell.gate(x_early, h_early, state)
            gated, kept = (value,), (kept,)
        new, _ = cell.forward(x, h, state, *kept)
        return sum(w * part for w, part in zip(weights, (*new, *gated)))

    def moved(i, j, by):
        return [
            tuple(a + by * ((i, j) == (k, l)) for l, a in enumerate(part))
            for k, part in enumerate(inputs)
        ]

    return [
        [(loss(moved(i, j, step)) - loss(moved(i, j, -step))) / (2 * step) for j in range(len(p))]
        for i, p in enumerate(inputs)
    ]


@pytest.mark.parametrize("name", DERIVED)
def test_derivatives_are_those_of_finite_differences(name):
    cell, rng = DERIVED[name], np.random.default_rng(3)
    early = cell.gates - cell.late if cell.late else 0
    counts = early, early, cell.gates - early, cell.gates - early, cell.states
    inputs = [tuple(rng.standard_normal((count, 50))) for count in counts]
    weights = rng.standard_normal((cell.states + 1, 50))
    expected = gradients_by_differences(cell, inputs, weights)

    x_early, h_early, x, h, state = inputs
    kept = (cell.gate(x_early, h_early, state)[1],) if cell.late else ()
    new, saved = cell.forward(x, h, state, *kept)
    assert len(saved) == cell.saved
    dx, dh, dstate = cell.backward(saved, state, new, tuple(weights[:-1]))
    if cell.late:
        assert len(dh) == cell.carried and len(kept[0]) == cell.kept
        da, more = cell.gate_backward(saved, state, dh, weights[-1])
        found = [da, da, dx, dx, [a + b for a, b in zip(dstate, more)]]
    else:
        found = [(), (), dx, dh, dstate]
    for parts, others in zip(found, expected, strict=True):
        for part, other in zip(parts, others, strict=True):
            np.testing.assert_allclose(part, other, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", BUILT_IN)
def test_saves_no_more_than_the_cell_written_by_hand(name):
    derived, written = DERIVED[name], BUILT_IN[name]
    numbers = ("gates", "states", "saved", "apart", "late", "kept", "carried")
    assert [getattr(derived, n) for n in numbers] == [getattr(written, n) for n in numbers]


def test_weights_of_its_own_are_those_of_the_cell_written_by_hand():
    written, rng = gpurnn.cells.LSTM_PEEPHOLES, np.random.default_rng(5)
    assert PEEPHOLES.weights == written.weights and PEEPHOLES.saved == written.saved
    x, h, state, dnew, extra = (tuple(rng.standard_normal((n, 20))) for n in (4, 4, 2, 2, 3))
    results = []
    for cell in (PEEPHOLES, written):
        new, saved = cell.forward(x, h, state, extra)
        results.append((new, *cell.backward(saved, state, new, dnew, extra)))
    for parts, others in zip(*results, strict=True):
        np.testing.assert_allclose(parts, others, rtol=1e-12, atol=1e-14)


def test_masks_reach_both_phases():
    assert MASKED.masks == MASKED.extras == 2
    gpurnn.check_cell(MASKED)


def test_independent_units_pass():
    gpurnn.check_cell(INDEPENDENT, devices=())


@pytest.mark.parametrize("name", ["gru", "gru_before"])
def test_layer_is_that_of_the_built_in_cell(name, device):
    rng = np.random.default_rng(1)
    x = put(rng.standard_normal((4, 3, 5), np.float32), device)
    dy = put(rng.standard_normal((4, 3, 9), np.float32), device)
    layers = [
        gpurnn.Recurrent(cells[name], 5, 9, device=device, rng=1) for cells in (DERIVED, BUILT_IN)
    ]
    (y, dx), (y_built_in, dx_built_in) = ((y, back(dy)[0]) for y, _, back in (
        layer.forward(x) for layer in layers))  # fmt: skip
    assert_close(y, get(y_built_in), "float32", "y")
    assert_close(dx, get(dx_built_in), "float32", "dx")
    for parameter, gradient in layers[0].grads.items():
        assert_close(gradient, get(layers[1].grads[parameter]), "float32", parameter)


@pytest.mark.parametrize("name", ["everything", "two phases of everything", "independent"])
def test_float32_kernels_compute_nothing_in_float64(name):
    pytest.importorskip("cupy")
    pytest.importorskip("numba_cuda")
    from gpurnn.kernels.cuda import backward, device, forward

    if device.why_not():
        pytest.skip(device.why_not())
    one = forward.forward_step, backward.backward_step
    two = (
        forward.gate_step, forward.late_step, backward.late_backward_step,
        backward.gate_backward_step,
    )  # fmt: skip
    cell = {**DERIVED, "independent": INDEPENDENT}[name]
    for kernel in two if cell.late else one:
        ptx = kernel(cell, "float32").ptx((9, 0))
        assert not re.findall(r"^\s+\w.*\.f64.*$", ptx, re.M), kernel


def test_source_is_what_one_would_write():
    assert DERIVED["gru"].source.startswith(
        "def forward(x, h, state):\n    r = sigmoid(x[0] + h[0])\n"
    )
    assert "return r * state[0], (z, r)\n" in DERIVED["gru_before"].source
    assert "tanh(new[1])" in DERIVED["lstm"].source, "recomputed from the state, not saved"


def with_if(x, h, state):
    return x[0] if x[0] > h[0] else h[0]


def with_math(x, h, state):
    import math

    return math.exp(x[0])


@pytest.mark.parametrize(
    ("forward", "options", "error", "message"),
    [
        (with_if, {}, TypeError, "select"),
        (with_math, {}, TypeError, "kernels.mathematics"),
        (lambda x, h, s: np.tanh(x[0]), {}, TypeError, "np.tanh"),
        (lambda x, h, s: x[0] * np.ones(3), {}, TypeError, "array"),
        (lambda x, h, s: np.ones(3) * x[0], {}, TypeError, "array"),
        (lambda x, h, s: x[0] ** 0.5, {}, TypeError, "whole numbers"),
        (lambda x, h, s: x[0] > h[0], {}, TypeError, "condition"),
        (lambda x, h, s: (x[0] > h[0]) * x[0], {}, TypeError, "condition"),
        (lambda x, h, s: x[0] * np.inf, {}, TypeError, "finite"),
        (lambda x, h, s: "h", {}, TypeError, "str"),
        (lambda x, h: x[0], {}, TypeError, "3 arguments"),
        (np.tanh, {}, TypeError, "Python function"),
        (lambda x, h, s: (x[0], h[0]), {}, ValueError, "tuple of 1, got 2"),
        (lambda x, h, s: x[1], {}, ValueError, "reads past"),
        (lambda x, h, s: x[0] * RANDOM.random(), {}, ValueError, "pure"),
        (lambda x, h, s: x[0], {"gates": 0}, ValueError, "gates"),
        (lambda x, h, s: x[0], {"late": 1}, ValueError, "late, gate"),
        (lambda x, h, s: x[0], {"weights": ["w"]}, TypeError, "4 arguments"),
        (lambda x, h, s, e: e[1] * x[0], {"weights": ["w"]}, ValueError, "reads past"),
        (lambda x, h, s, e: x[0], {"weights": "w"}, ValueError, "tuple of names"),
        (lambda x, h, s, e: x[0], {"weights": ["w", "w"]}, ValueError, "each once"),
        (lambda x, h, s, e: x[0], {"weights": ["bias_hh"]}, ValueError, "other than weight_ih"),
        (lambda x, h, s, e: x[0], {"masks": -1}, ValueError, "masks: expected .* at least 0"),
        (gru_late, {"gates": 3, "late": 1, "gate": reset_gate, "weights": ["w"]}, ValueError,
         "none of a two-phase cell"),
        (lambda x, h, s, k: x[0] * h[0], {"gates": 2, "late": 1, "gate": reset_gate}, ValueError,
         "reads past"),
        (lambda x, h, s, k: x[0] * h[0], {"gates": 3, "late": 1, "gate": reset_gate}, ValueError,
         r"only x\[i\] \+ h\[i\]"),
    ],
)  # fmt: skip
def test_bad_formulas_are_told_what_to_write(forward, options, error, message):
    with pytest.raises(error, match=message):
        gpurnn.derive_cell(forward, **{"gates": 1, **options})
