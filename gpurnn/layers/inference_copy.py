"""Copies of recurrent layers for inference on the CPU."""

from ..kernels.cpu.frozen import freeze
from .recurrent import Recurrent


class InferenceCopy(Recurrent):
    """A copy of a recurrent layer for inference on the CPU, with weights of its own.

    It has no parameters (`params` is empty), and does not follow the layer's.
    """

    _kind = None  # of weights; the name of the layer's method that makes the copy

    def __init__(self, layer, convert):
        """convert(weights) makes the weights of one layer and direction."""
        if layer.device != "cpu":
            raise ValueError(
                f"{self._kind}: expected a layer on 'cpu', got one on {layer.device!r}"
            )
        self.__setstate__(layer.__getstate__())
        self.params, self.grads = {}, {}
        rows = [(k, d) for k in range(self.num_layers) for d in range(self.directions)]
        self._converted = {row: convert(layer._weights(*row)) for row in rows}
        self._copied = {row: tuple(w.copy() for w in layer._own_weights(*row)) for row in rows}

    def _weights(self, layer, direction):
        return self._converted[layer, direction]

    def _own_weights(self, layer, direction):
        return self._copied[layer, direction]

    def forward(self, x, state=None, lengths=None):
        """Raise TypeError: the copy is for inference, by calling it."""
        raise TypeError(f"forward: {self._kind} weights are for inference; call the layer instead")

    def frozen(self):
        """Raise TypeError: copies are made of a layer."""
        raise TypeError(f"frozen: expected a layer, got its copy with {self._kind} weights")

    def reduced(self, kind="bfloat16"):
        """Raise TypeError: copies are made of a layer."""
        raise TypeError(f"reduced: expected a layer, got its copy with {self._kind} weights")

    def to(self, device):
        """Raise ValueError unless `device` is "cpu"."""
        if device != "cpu":
            raise ValueError(f"device: expected 'cpu' for {self._kind} weights, got {device!r}")
        return self


class FrozenRecurrent(InferenceCopy):
    """A recurrent layer's copy for inference, its weights packed once; `layer.frozen()`.

    A call of a layer packs its weights, as the kernels read them fastest, since they may have
    changed: a good part of a short call of a large layer. The copy packs them when they are first
    used, and keeps them beside the plain ones: it takes about three times a layer's memory. What
    comes out is the same but for rounding. Nothing is gained with `layer_norm` or several heads.

    It has no parameters of its own (`params` is empty), and does not follow the layer's.
    """

    _kind = "frozen"

    def __init__(self, layer):
        super().__init__(layer, freeze)
