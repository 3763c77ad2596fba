"""Optimizers and clipping against PyTorch, on the CPU and on CUDA."""

import math

import numpy as np
import pytest

from gpurnn.arrays import device_of, to_device, to_numpy
from gpurnn.learning.clipping import clip_grad_norm
from gpurnn.learning.optimizers import SGD, Adam, AdamW, RMSprop

SHAPES = {"weight": (5, 7), "bias": (3,), "scalar": (1,)}

VARIANTS = [
    (SGD, {"lr": 0.1}),
    (SGD, {"lr": 0.1, "weight_decay": 0.05}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.05}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.05}),
    (Adam, {}),
    (Adam, {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
    (AdamW, {}),
    (AdamW, {"lr": 0.02, "betas": (0.8, 0.95), "weight_decay": 0.3}),
    (RMSprop, {}),
    (RMSprop, {"lr": 0.02, "alpha": 0.8, "weight_decay": 0.1, "momentum": 0.9}),
    (RMSprop, {"alpha": 0.8, "centered": True}),
    (RMSprop, {"alpha": 0.8, "centered": True, "momentum": 0.5}),
]


class Parameters:
    """The least that an optimizer asks for."""

    def __init__(self, device="cpu", dtype="float32", seed=0):
        rng = np.random.default_rng(seed)
        start = {name: rng.standard_normal(shape).astype(dtype) for name, shape in SHAPES.items()}
        self.params = {name: to_device(array, device) for name, array in start.items()}
        self.grads = {name: to_device(0 * array, device) for name, array in start.items()}

    def set_gradients(self, step, scale=1.0):
        """New random gradients, given back as NumPy arrays."""
        rng = np.random.default_rng([7, step])
        drawn = {n: scale * rng.standard_normal(g.shape) for n, g in self.grads.items()}
        drawn = {n: array.astype(self.grads[n].dtype) for n, array in drawn.items()}
        for name, array in drawn.items():
            self.grads[name][...] = to_device(array, device_of(self.grads[name]))
        return drawn

    def numpy(self):
        return {name: to_numpy(array).copy() for name, array in self.params.items()}


def torch_twin(torch, layer):
    return {n: torch.nn.Parameter(torch.from_numpy(a)) for n, a in layer.numpy().items()}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("optimizer", "options"), VARIANTS)
def test_same_as_pytorch(optimizer, options, dtype, device):
    torch = pytest.importorskip("torch")
    layer = Parameters(device, dtype)
    twin = torch_twin(torch, layer)
    ours = optimizer(layer, **options)
    theirs = getattr(torch.optim, optimizer.__name__)(twin.values(), **options)
    for step in range(5):
        for name, gradient in layer.set_gradients(step).items():
            twin[name].grad = torch.from_numpy(gradient)
        if step == 3:  # the rate may change under way, as schedules do
            ours.lr = theirs.param_groups[0]["lr"] = 0.5 * ours.lr
        ours.step()
        theirs.step()
    # A handful of roundings a step, and a square root of small moments that enlarges them.
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    for name, array in layer.numpy().items():
        np.testing.assert_allclose(array, twin[name].detach(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("optimizer", "options"), VARIANTS)
def test_loaded_state_continues_bit_for_bit(optimizer, options):
    whole, first = Parameters(), Parameters()
    for_whole, for_first = optimizer(whole, **options), optimizer(first, **options)
    for step in range(6):
        whole.set_gradients(step)
        for_whole.step()
    for step in range(3):
        first.set_gradients(step)
        for_first.step()
    second = Parameters()
    second.params = first.numpy()
    for_second = optimizer(second, **options | {"lr": 0.5})
    for_second.load_state_dict(for_first.state_dict())
    for step in range(3, 6):
        second.set_gradients(step)
        for_second.step()
    assert for_second.state_dict().keys() == for_whole.state_dict().keys()
    for name, value in for_whole.state_dict().items():
        assert np.array_equal(for_second.state_dict()[name], value), name
    for name, array in whole.numpy().items():
        assert np.array_equal(second.params[name], array), name


def test_centered_rmsprop_survives_a_constant_gradient():
    """Rounding makes its variance negative; the square root of that would be NaN."""
    layer = Parameters()
    optimizer = RMSprop(layer, centered=True)
    for gradient in layer.grads.values():
        gradient[...] = 1.2345678
    for _ in range(3000):
        optimizer.step()
    assert all(np.isfinite(array).all() for array in layer.numpy().values())


def test_state_dict_is_a_copy():
    layer = Parameters()
    optimizer = Adam(layer)
    state = optimizer.state_dict()
    layer.set_gradients(0)
    optimizer.step()
    assert state["step_count"] == 0
    assert not state["weight.exp_avg"].any()


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop("bias.exp_avg"),
        lambda state: state.update({"other.exp_avg": np.zeros(3)}),
        lambda state: state.update({"bias.exp_avg": np.zeros(4)}),
    ],
)
def test_state_that_does_not_fit_is_refused_and_changes_nothing(change):
    optimizer = Adam(Parameters())
    state = Adam(Parameters(), lr=0.7).state_dict()
    change(state)
    with pytest.raises(ValueError, match=r"state: .*exp_avg"):
        optimizer.load_state_dict(state)
    assert optimizer.lr == 1e-3


@pytest.mark.parametrize(
    ("optimizer", "options", "error", "message"),
    [
        (SGD, {"lr": -1}, ValueError, "lr: expected a number in"),
        (SGD, {"lr": math.nan}, ValueError, "lr: .* got nan"),
        (SGD, {"lr": "fast"}, TypeError, "lr: expected a number, got 'fast'"),
        (SGD, {"lr": 0.1, "momentum": -0.1}, ValueError, "momentum"),
        (SGD, {"lr": 0.1, "nesterov": True}, ValueError, "nesterov"),
        (SGD, {"lr": 0.1, "weight_decay": -1}, ValueError, "weight_decay"),
        (Adam, {"betas": (1.0, 0.9)}, ValueError, "betas"),
        (Adam, {"betas": 0.9}, ValueError, "betas: expected two numbers, got 0.9"),
        (AdamW, {"eps": -1e-8}, ValueError, "eps"),
        (RMSprop, {"alpha": 1.5}, ValueError, "alpha"),
    ],
)
def test_bad_settings(optimizer, options, error, message):
    with pytest.raises(error, match=message):
        optimizer(Parameters(), **options)


def test_a_layer_without_parameters_is_refused():
    layer = Parameters()
    layer.params = layer.grads = {}
    with pytest.raises(ValueError, match="layer: expected at least one parameter"):
        SGD(layer)


@pytest.mark.cuda
def test_state_follows_a_layer_to_its_device():
    staying, moving = Parameters(), Parameters()
    optimizers = [Adam(staying), Adam(moving)]
    for step in range(2):
        for layer, optimizer in zip((staying, moving), optimizers):
            layer.set_gradients(step)
            optimizer.step()
        moving.params = {name: to_device(a, "cuda") for name, a in moving.params.items()}
        moving.grads = {name: to_device(a, "cuda") for name, a in moving.grads.items()}
    for name, array in moving.numpy().items():
        np.testing.assert_allclose(array, staying.params[name], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("max_norm", [0.5, 1e9, 0.0])
def test_clipping_same_as_pytorch(max_norm, device):
    torch = pytest.importorskip("torch")
    layer = Parameters(device)
    twin = torch_twin(torch, layer)
    for name, gradient in layer.set_gradients(0, scale=3.0).items():
        twin[name].grad = torch.from_numpy(gradient.copy())
    norm = clip_grad_norm(layer, max_norm)
    expected = torch.nn.utils.clip_grad_norm_(twin.values(), max_norm)
    assert isinstance(norm, float)
    assert norm == pytest.approx(float(expected), rel=1e-6)
    for name, gradient in layer.grads.items():
        np.testing.assert_allclose(to_numpy(gradient), twin[name].grad, rtol=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_gradients_with_no_norm_are_left_alone(bad):
    layer = Parameters()
    layer.set_gradients(0)
    layer.grads["bias"][1] = bad
    before = {name: array.copy() for name, array in layer.grads.items()}
    norm = clip_grad_norm(layer, 1.0)
    assert math.isnan(norm) if math.isnan(bad) else norm == math.inf
    for name, array in before.items():
        assert np.array_equal(layer.grads[name], array, equal_nan=True)


@pytest.mark.parametrize("max_norm", [-1.0, math.nan])
def test_bad_max_norm(max_norm):
    with pytest.raises(ValueError, match="max_norm"):
        clip_grad_norm(Parameters(), max_norm)
