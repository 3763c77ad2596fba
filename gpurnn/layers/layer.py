"""What all layers share: parameters, their gradients, the way between devices and files."""

from collections.abc import Mapping

import numpy as np

from .. import cuda
from ..arrays import (
    check_device,
    check_dtype,
    check_rng,
    device_of,
    is_half,
    kernels_of,
    to_device,
    to_numpy,
)
from ..kernels.cpu.workspace import aligned_copy


class Layer:
    """Parameters with gradients.

    Attributes
    ----------
    params, grads : dict of str to array
        By PyTorch's names, of the same shapes, dtype and device. Backward passes add into
        `grads`; optimizers change `params` in place.
    dtype : numpy.dtype
    device : "cpu" or "cuda"
    rng : numpy.random.Generator
        Source of the initial values, and of dropout's seeds.
    """

    takes_halves = False
    """Whether the dtype may be float16 or bfloat16."""

    def __init__(self, dtype, device, rng):
        check_device(device)
        self.dtype, self.device = check_dtype(dtype, self.takes_halves), device
        self._check_halves(device)
        self.rng = check_rng(rng)
        self.params, self.grads = {}, {}
        self._checked = {}  # the arrays that `_parameter` need not look at again

    def _check_halves(self, device):
        if is_half(self.dtype) and device == "cpu":
            raise ValueError(
                f"dtype: {self.dtype} is for device='cuda', got device='cpu', which has float32 "
                "and float64 (and reduced() for inference with smaller weights)"
            )
        if self.dtype.name == "bfloat16":
            cuda.check_bfloat16()

    def _add_parameter(self, name, value):
        self.params[name] = self._placed(np.asarray(value, self.dtype), self.device)
        self.grads[name] = self._placed(np.zeros(self.params[name].shape, self.dtype), self.device)

    @staticmethod
    def _placed(value, device):
        """A contiguous copy on the device, as its kernels read it fastest."""
        value = to_device(value, device)
        return aligned_copy(value) if device == "cpu" else value

    def _uniform(self, shape, bound):
        return self.rng.uniform(-bound, bound, shape)

    @property
    def kernels(self):
        """The kernels of the layer's device."""
        return kernels_of(self.device)

    def zero_grads(self):
        """Set all gradients to zero, in place."""
        for gradient in self.grads.values():
            gradient.fill(0)

    def to(self, device):
        """Move parameters and gradients to "cpu" or "cuda", in place; returns the layer.

        ValueError for float16 and bfloat16 on the CPU; RuntimeError for bfloat16 on GPUs before
        compute capability 8.0.
        """
        check_device(device)
        self._check_halves(device)
        if device != self.device:
            self.params = {name: self._placed(a, device) for name, a in self.params.items()}
            self.grads = {name: self._placed(a, device) for name, a in self.grads.items()}
            self.device = device
        return self

    def state_dict(self):
        """A copy of the parameters: dict of name to NumPy array."""
        return {name: np.array(to_numpy(a)) for name, a in self.params.items()}

    def load_state_dict(self, state):
        """Set the parameters to those of `state`: name to NumPy, CuPy or PyTorch array.

        The values are converted to the layer's dtype. Nothing is changed if an error is raised.

        Raises
        ------
        TypeError
            If `state` is no mapping.
        ValueError
            If a name is missing or unknown, or a shape differs.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"state: expected a dict of arrays, got {type(state).__name__}")
        missing, unknown = self.params.keys() - state.keys(), state.keys() - self.params.keys()
        if missing or unknown:
            raise ValueError(
                f"state: expected the names {sorted(self.params)}; missing {sorted(missing)}, "
                f"unknown {sorted(unknown)}"
            )
        values = {}
        for name, param in self.params.items():
            value = state[name]
            value = _to_numpy(value)
            if value.shape != param.shape:
                raise ValueError(f"state[{name!r}]: expected {param.shape}, got {value.shape}")
            if value.dtype.kind not in "fiu" and not is_half(value.dtype):
                raise ValueError(f"state[{name!r}]: expected numbers, got {value.dtype}")
            values[name] = to_device(value.astype(self.dtype), self.device)
        for name, value in values.items():
            self.params[name][...] = value

    def _parameter(self, name):
        """The parameter, checked to lie where the layer's kernels can read it."""
        value = self.params[name]
        if value is self._checked.get(name):
            return value
        if device_of(value) != self.device or value.dtype != self.dtype:
            raise TypeError(
                f"params[{name!r}]: expected {self.dtype} on {self.device!r}, "
                f"got {value.dtype} on {device_of(value)!r}"
            )
        if not value.flags.c_contiguous:
            raise ValueError(f"params[{name!r}]: expected a C-contiguous array")
        self._checked[name] = value
        return value


def _to_numpy(value):
    """A NumPy array of a NumPy, CuPy or PyTorch array's numbers."""
    if not hasattr(value, "detach"):
        return to_numpy(value)
    value = value.detach().cpu()
    return (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()
