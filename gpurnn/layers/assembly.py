"""Layers made of layers."""

from .layer import Layer


class Assembly(Layer):
    """A layer whose parameters are those of its parts, named "part.name".

    dropout: share of the values that `_drop` sets to zero; for the rest see `Layer`.
    """

    def __init__(self, dtype, device, rng, dropout=0.0):
        super().__init__(dtype, device, rng)
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout: expected a number from 0 on and below 1, got {dropout!r}")
        self.dropout = dropout
        self._parts = {}

    def _assemble(self, parts):
        """Take layers by name as the parts."""
        self._parts = parts
        self._gather()

    def _gather(self):
        for kind in ("params", "grads"):
            arrays = {
                f"{part}.{name}": array
                for part, layer in self._parts.items()
                for name, array in getattr(layer, kind).items()
            }
            setattr(self, kind, arrays)

    def to(self, device):
        """Move all parameters to "cpu" or "cuda", in place; returns the whole."""
        for layer in self._parts.values():
            layer.to(device)
        self.device = device
        self._gather()
        return self

    def _drop(self, values):
        """(values with a share dropped, the function that drops the same of a gradient)."""
        if self.dropout == 0:
            return values, lambda gradient: gradient
        seed = int(self.rng.integers(2**63))

        def drop(array):
            return self.kernels.dropout(array, self.dropout, seed)

        return drop(values), drop
