"""CUDA's kernels, behind the functions that `gpurnn.kernels.cpu` has too."""

from .ctc import ctc_loss
from .elementwise import apply_map, dropout, sum_of_squares
from .embedding import embedding_backward, embedding_forward
from .linear import linear_backward, linear_forward
from .losses import softmax_cross_entropy
from .recurrence import Recurrence


def directions_apart(batch):
    """Never: the device works on both directions one after the other, without waiting."""
    return False


__all__ = [
    "Recurrence",
    "apply_map",
    "ctc_loss",
    "directions_apart",
    "dropout",
    "embedding_backward",
    "embedding_forward",
    "linear_backward",
    "linear_forward",
    "softmax_cross_entropy",
    "sum_of_squares",
]
