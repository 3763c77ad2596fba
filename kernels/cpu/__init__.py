"""The CPU's kernels, behind the functions that `gpurnn.kernels.cuda` has too."""

from .activations import activate, activate_backward
from .attention import (
    additive_scores,
    additive_scores_backward,
    attention_softmax,
    attention_softmax_backward,
)
from .ctc import ctc_loss
from .elementwise import apply_map, dropout, random_mask, sum_of_squares
from .embedding import embedding_backward, embedding_forward
from .heads import HeadedRecurrence
from .influence import FullInfluence, OwnInfluence
from .jordan import jordan_backward, jordan_forward
from .linear import add_weight_gradient, linear_backward, linear_forward
from .losses import softmax_cross_entropy
from .online_step import local_step, transition
from .projected import ProjectedRecurrence
from .recurrence import Recurrence
from .scan import scan_backward, scan_forward
from .sequence_products import add_weighted_steps, dot_scores, weighted_sums
from .sharing import directions_apart, steps_together
from .threads import run_side_by_side, run_together
from .trees import tree_backward, tree_forward
from .workspace import empty, zeros


def layers_together(cell, hidden_size, batch, steps, dtype, keep, layers):
    """By what layers are run: each by itself, by all threads."""
    return [None] * layers


__all__ = [
    "FullInfluence",
    "HeadedRecurrence",
    "OwnInfluence",
    "ProjectedRecurrence",
    "Recurrence",
    "activate",
    "activate_backward",
    "add_weight_gradient",
    "add_weighted_steps",
    "additive_scores",
    "additive_scores_backward",
    "apply_map",
    "attention_softmax",
    "attention_softmax_backward",
    "ctc_loss",
    "directions_apart",
    "dot_scores",
    "dropout",
    "embedding_backward",
    "embedding_forward",
    "empty",
    "jordan_backward",
    "jordan_forward",
    "layers_together",
    "linear_backward",
    "linear_forward",
    "local_step",
    "random_mask",
    "run_side_by_side",
    "scan_backward",
    "scan_forward",
    "run_together",
    "softmax_cross_entropy",
    "steps_together",
    "sum_of_squares",
    "transition",
    "tree_backward",
    "tree_forward",
    "weighted_sums",
    "zeros",
]
