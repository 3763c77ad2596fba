"""An affine map of the last axis."""

import math

from ..arrays import check_array, check_size
from .layer import Layer


class Linear(Layer):
    """y = x Wᵀ + b.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
    dtype : "float32", "float64"; on CUDA also "float16", "bfloat16"
    device : "cpu" or "cuda"
    rng : None, int or numpy.random.Generator

    The parameters are `weight` (out_features, in_features) and `bias` (out_features,), at first
    uniform within ± 1 / sqrt(in_features).
    """

    takes_halves = True

    def __init__(
        self, in_features, out_features, *, bias=True, dtype="float32", device="cpu", rng=None
    ):
        super().__init__(dtype, device, rng)
        self.in_features = check_size(in_features, "in_features")
        self.out_features = check_size(out_features, "out_features")
        bound = 1 / math.sqrt(self.in_features)
        self._add_parameter("weight", self._uniform((self.out_features, self.in_features), bound))
        if bias:
            self._add_parameter("bias", self._uniform(self.out_features, bound))

    def __call__(self, x):
        """x (..., in_features) -> y (..., out_features).

        Raises TypeError or ValueError if `x` has another device, dtype or last axis.
        """
        x = self._check(x, "x", self.in_features)
        rows = x.reshape(-1, self.in_features)
        y = self.kernels.empty((len(rows), self.out_features), self.dtype)
        bias = self._parameter("bias") if "bias" in self.params else None
        self.kernels.linear_forward(rows, self._parameter("weight"), bias, y)
        return y.reshape(*x.shape[:-1], self.out_features)

    def forward(self, x):
        """As calling the layer; also returns ``backward(dy) -> dx``, which adds into `grads`."""
        y = self(x)
        x = self._check(x, "x", self.in_features)
        kernels, weight = self.kernels, self._parameter("weight")

        def backward(dy):
            dy = self._check(dy, "dy", self.out_features, y.shape)
            dx = kernels.empty(x.shape, x.dtype)
            kernels.linear_backward(
                x.reshape(-1, self.in_features),
                weight,
                dy.reshape(-1, self.out_features),
                dx.reshape(-1, self.in_features),
                self.grads["weight"],
                self.grads.get("bias"),
            )
            return dx

        return y, backward

    def _check(self, a, name, last, shape=None):
        if shape is None:
            shape = (None,) * (max(getattr(a, "ndim", 1), 1) - 1) + (last,)
        return check_array(
            a, name, self.device, self.dtype, shape, None if None not in shape else f"(..., {last})"
        )
