"""The time loops of a recurrent layer, and what goes around them."""

from ..arrays import kernels_of
from .recompute import RecomputedRecurrence
from .unit_noise import DroppedRecurrence


class Recurrences(dict):
    """The time loops of a stack, made when first asked for: by device, input size, and whether
    the hidden state is dropped on its way into the product."""

    def __init__(self, noise, hidden_size, proj_size, heads, dtype, recompute):
        super().__init__()
        self._noise, self._hidden_size = noise, hidden_size
        self._proj_size, self._heads = proj_size, heads
        self._dtype, self._recompute = dtype, recompute

    def __missing__(self, key):
        device, inputs, dropped = key
        cell = self._noise.training_cell if dropped else self._noise.cell
        sizes = cell, inputs, self._hidden_size
        kernels = kernels_of(device)
        if self._proj_size:
            made = kernels.ProjectedRecurrence(*sizes, self._proj_size, self._dtype)
        elif self._heads > 1:
            made = kernels.HeadedRecurrence(*sizes, self._heads, self._dtype)
        else:
            made = kernels.Recurrence(*sizes, self._dtype)
        if self._recompute:
            made = RecomputedRecurrence(made, self._recompute)
        if dropped:
            made = DroppedRecurrence(made)
        return self.setdefault(key, made)
