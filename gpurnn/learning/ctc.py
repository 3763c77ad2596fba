"""Connectionist temporal classification: labels without their places in time."""

import numpy as np

from ..arrays import check_array, check_lengths, device_of, kernels_of, module_of
from .losses import check_floats

REDUCTIONS = ("mean", "sum", "none")


def ctc_loss(
    logits, targets, input_lengths, target_lengths, *, blank=0, reduction="mean",
    zero_infinity=False,
):  # fmt: skip
    """-log of the probability of the targets, summed over all their alignments in time.

    An alignment has a class at every step; the labels are what remains when repetitions are
    merged and blanks taken out. Source: Graves et al. (2006), section 4.1, in logarithms.

    Parameters
    ----------
    logits : array (T, B, V), float32 or float64, not normalised
    targets : integers (B, S), or (N,), those of all sequences one after another, N the sum of
        their lengths; from 0 to V - 1, none of them the blank
    input_lengths : integers (B,), from 1 to T
    target_lengths : integers (B,), from 0 on
    blank : int, the class that stands for no label
    reduction : "mean" (each loss divided by its number of labels, or 1 if there are none, then
        the mean over the sequences: as PyTorch), "sum" or "none"
    zero_infinity : bool
        Labels that do not fit in the steps have an infinite loss and a gradient that is NaN;
        with `zero_infinity` both are 0.

    Returns
    -------
    loss : 0-d array in nats, or (B,) for "none"; of the logits' dtype and device
    dlogits : array (T, B, V), the gradient of `loss` (for "none" of its sum); zero past the ends

    Raises
    ------
    TypeError, ValueError
        If dtypes, devices or shapes do not fit, or a length or a target is out of range (on
        CUDA finding out the latter would mean to wait for the device: there the loss is NaN).
    """
    logits = check_floats(logits, "logits")
    if logits.ndim != 3:
        raise ValueError(f"logits: expected (T, B, V), got {logits.shape}")
    device, (steps, batch, classes) = device_of(logits), logits.shape
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction: expected one of {', '.join(REDUCTIONS)}, got {reduction!r}")
    blank = check_blank(blank, classes)
    input_lengths = check_lengths(input_lengths, "input_lengths", batch, 1, steps)
    target_lengths = check_lengths(target_lengths, "target_lengths", batch, 0)
    targets, starts = _check_targets(targets, target_lengths, classes, blank, device)
    weights = np.ones(batch)
    if reduction == "mean":
        weights = 1 / (np.maximum(target_lengths, 1) * batch)
    losses, dlogits = kernels_of(device).ctc_loss(
        logits, targets, starts, input_lengths, target_lengths, blank, weights,
        0 if zero_infinity else np.nan,
    )  # fmt: skip
    xp = module_of(device)
    if zero_infinity:
        losses[xp.isinf(losses)] = 0
    if reduction == "none":
        return losses, dlogits
    return (losses * xp.asarray(weights)).sum().astype(logits.dtype), dlogits


def check_blank(blank, classes):
    """`blank` as an int; ValueError unless it is one of the classes."""
    if isinstance(blank, bool) or not isinstance(blank, (int, np.integer)):
        raise ValueError(f"blank: expected an integer, got {blank!r}")
    if not 0 <= blank < classes:
        raise ValueError(f"blank: expected 0 to {classes - 1}, got {blank}")
    return int(blank)


def _check_targets(targets, lengths, classes, blank, device):
    """The targets in one row, and where in it each sequence's begin."""
    batch, total = len(lengths), int(lengths.sum())
    targets = check_array(targets, "targets", device)
    if targets.ndim == 1:
        if targets.size != total:
            raise ValueError(
                f"targets: expected ({total},), the sum of target_lengths, got {targets.shape}"
            )
        starts = np.cumsum(lengths) - lengths
    else:
        longest = int(lengths.max())
        if targets.ndim != 2 or len(targets) != batch or targets.shape[1] < longest:
            raise ValueError(
                f"targets: expected ({batch}, at least {longest}) or ({total},), "
                f"got {targets.shape}"
            )
        starts = np.arange(batch) * targets.shape[1]
    targets = targets.reshape(-1).astype(np.int64, copy=False)
    if device == "cpu":
        used = np.concatenate([targets[s : s + n] for s, n in zip(starts, lengths)])
        wrong = used[(used < 0) | (used >= classes) | (used == blank)]
        if wrong.size:
            raise ValueError(
                f"targets: expected 0 to {classes - 1} without the blank, {blank}, got {wrong[0]}"
            )
    return targets, starts
