"""Optimizers: PyTorch's names, defaults and formulas, over anything with `params` and `grads`.

An optimizer holds the layer, not its arrays, and updates them in place: one kernel launch a
parameter. Its own arrays lie where the parameters lie, and follow them. Parameters of 16 bits are
rounded copies of float32 ones, the optimizer's slot "master"; its other arrays are float32 too.
"""

import math
from numbers import Real

import numpy as np

from gpurnn.arrays import device_of, is_half, kernels_of, module_of, to_device, to_numpy
from gpurnn.kernels import maps

MASTER = "master"


def _number(name, value, low, high=math.inf, *, include_high=False):
    """`value` as a float in [low, high), or an error that names the argument."""
    bracket = "]" if include_high else ")"
    if not isinstance(value, Real):
        raise TypeError(f"{name}: expected a number, got {value!r}")
    number = float(value)
    if not (low <= number < high or include_high and number == high):
        raise ValueError(f"{name}: expected a number in [{low}, {high}{bracket}, got {value!r}")
    return number


class Optimizer:
    """What all optimizers share. `slots` names the arrays kept for each parameter.

    Attributes: `layer`, `lr` (may be set at any time), `step_count`.
    """

    def __init__(self, layer, lr, weight_decay, slots):
        self.layer = layer
        self.lr = lr
        self.weight_decay = _number("weight_decay", weight_decay, 0)
        self.step_count = 0
        self.slots = slots
        params = layer.params
        if not params:
            raise ValueError("layer: expected at least one parameter, got none")
        self._device = device_of(next(iter(params.values())))
        self._halves = any(is_half(parameter.dtype) for parameter in params.values())
        if self._halves:
            self.slots = (*slots, MASTER)
        self._state = {name: self._slots_of(parameter) for name, parameter in params.items()}

    def _slots_of(self, parameter):
        dtype = np.dtype("float32") if self._halves else parameter.dtype
        arrays = [module_of(self._device).zeros(parameter.shape, dtype) for _ in self.slots]
        if self._halves:
            arrays[-1][...] = parameter.astype(dtype)
        return tuple(arrays)

    @property
    def lr(self):
        """The learning rate."""
        return self._lr

    @lr.setter
    def lr(self, value):
        self._lr = _number("lr", value, 0)

    def _rule(self):
        """The map function of this step and its scalars."""
        raise NotImplementedError

    def step(self):
        """Change every parameter in place by its gradient."""
        self.step_count += 1
        rule, scalars = self._rule()
        params, grads = self.layer.params, self.layer.grads
        device = device_of(next(iter(params.values())))
        if device != self._device:
            self._follow(device)
        kernels = kernels_of(device)
        for name, kept in self._state.items():
            parameter, gradient = params[name], grads[name]
            if self._halves:
                *kept, master = kept
                kernels.apply_map_to_master(rule, parameter, (master, *kept), gradient, scalars)
            else:
                kernels.apply_map(rule, (parameter, *kept, gradient), scalars)

    def _follow(self, device):
        """Move the state to the device to which the layer was moved."""
        self._device = device
        self._state = {
            name: tuple(to_device(array, device) for array in kept)
            for name, kept in self._state.items()
        }

    def state_dict(self):
        """All that resuming needs: NumPy copies by "parameter.slot", "step_count" and "lr"."""
        arrays = {
            f"{name}.{slot}": to_numpy(array).copy()
            for name, kept in self._state.items()
            for slot, array in zip(self.slots, kept)
        }
        return {"step_count": self.step_count, "lr": self.lr, **arrays}

    def load_state_dict(self, state):
        """Take up a `state_dict`. Wrong names or shapes are a ValueError, and change nothing."""
        mine = self.state_dict()
        if state.keys() != mine.keys():
            missing, extra = sorted(mine.keys() - state.keys()), sorted(state.keys() - mine.keys())
            raise ValueError(f"state: missing {missing}, not expected {extra}")
        for name, array in mine.items():
            if name not in ("step_count", "lr") and state[name].shape != array.shape:
                raise ValueError(
                    f"state: {name}: expected shape {array.shape}, got {state[name].shape}"
                )
        self.lr = float(state["lr"])
        self.step_count = int(state["step_count"])
        for name, kept in self._state.items():
            for slot, array in zip(self.slots, kept):
                array[...] = to_device(to_numpy(state[f"{name}.{slot}"]), self._device)


class SGD(Optimizer):
    """Gradient descent, with momentum and Nesterov's form of it (Sutskever et al. 2013).

    `layer`: anything with dicts `params` and `grads` of arrays. ValueError for negative `lr`,
    `momentum` or `weight_decay`, and for `nesterov` without momentum.
    """

    def __init__(self, layer, lr=1e-3, momentum=0.0, nesterov=False, weight_decay=0.0):
        self.momentum = _number("momentum", momentum, 0)
        if nesterov and self.momentum == 0:
            raise ValueError("nesterov: expected a momentum above 0 with it, got momentum 0")
        self.nesterov = nesterov
        super().__init__(layer, lr, weight_decay, ("momentum_buffer",) if momentum else ())

    def _rule(self):
        if self.momentum == 0:
            return maps.sgd_step, (self.lr, self.weight_decay)
        rule = maps.nesterov_step if self.nesterov else maps.momentum_step
        return rule, (self.lr, self.weight_decay, self.momentum)


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015); `weight_decay` is added to the gradient, as a penalty would."""

    def __init__(self, layer, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        try:
            beta1, beta2 = betas
        except (TypeError, ValueError):
            raise ValueError(f"betas: expected two numbers, got {betas!r}") from None
        self.betas = (_number("betas", beta1, 0, 1), _number("betas", beta2, 0, 1))
        self.eps = _number("eps", eps, 0)
        super().__init__(layer, lr, weight_decay, ("exp_avg", "exp_avg_sq"))

    def _decays(self):
        """The factor that shrinks the parameter, and the penalty added to the gradient."""
        return 1.0, self.weight_decay

    def _rule(self):
        beta1, beta2 = self.betas
        rate = self.lr / (1 - beta1**self.step_count)
        root_correction = 1 / math.sqrt(1 - beta2**self.step_count)
        moments = (beta1, 1 - beta1, beta2, 1 - beta2)
        return maps.adam_step, (rate, *self._decays(), *moments, root_correction, self.eps)


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameter itself (Loshchilov & Hutter 2019)."""

    def __init__(self, layer, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2):
        super().__init__(layer, lr, betas, eps, weight_decay)

    def _decays(self):
        return 1 - self.lr * self.weight_decay, 0.0


class RMSprop(Optimizer):
    """RMSprop (Hinton's lecture 6e), `centered` as in Graves (2013)."""

    def __init__(
        self, layer, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False
    ):
        self.alpha = _number("alpha", alpha, 0, 1, include_high=True)
        self.eps = _number("eps", eps, 0)
        self.momentum = _number("momentum", momentum, 0)
        self.centered = centered
        slots = ["square_avg"]
        if centered:
            slots.append("grad_avg")
        if self.momentum:
            slots.append("momentum_buffer")
        super().__init__(layer, lr, weight_decay, tuple(slots))

    def _rule(self):
        rule = {
            (False, False): maps.rmsprop_step,
            (False, True): maps.rmsprop_momentum_step,
            (True, False): maps.centered_rmsprop_step,
            (True, True): maps.centered_rmsprop_momentum_step,
        }[bool(self.centered), self.momentum > 0]
        scalars = (self.lr, self.weight_decay, self.alpha, 1 - self.alpha, self.eps)
        return rule, scalars + (self.momentum,) * (self.momentum > 0)
