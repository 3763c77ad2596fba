"""CUDA's kernels, behind the functions that `gpurnn.kernels.cpu` has too."""

from cupy import empty, zeros

from .activations import activate, activate_backward
from .attention import (
    add_weighted_steps,
    additive_scores,
    additive_scores_backward,
    attention_softmax,
    attention_softmax_backward,
    dot_scores,
    weighted_sums,
)
from .ctc import ctc_loss
from .elementwise import (
    apply_map,
    apply_map_to_master,
    dropout,
    random_mask,
    sum_of_squares,
)
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
from .stacked import layers_together
from .together import run_together
from .trees import tree_backward, tree_forward


def steps_together(steps, batch):
    """Whether a `stepper` takes so many steps at a time: one only."""
    return steps == 1


def directions_apart(batch):
    """Never: the device works on both directions one after the other, without waiting."""
    return False


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
    "apply_map_to_master",
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
    "scan_backward",
    "scan_forward",
    "softmax_cross_entropy",
    "steps_together",
    "run_together",
    "sum_of_squares",
    "transition",
    "tree_backward",
    "tree_forward",
    "weighted_sums",
    "zeros",
]
