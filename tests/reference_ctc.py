"""Connectionist temporal classification by its definition: the sum over all alignments."""

import itertools
from collections import defaultdict

import numpy as np


def log_softmax(logits):
    """Of float64 logits, along the last axis."""
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def collapse(path, blank):
    """The labels of an alignment: repetitions merged, blanks taken out."""
    merged = [k for k, _ in itertools.groupby(path)]
    return tuple(k for k in merged if k != blank)


def alignments(logits, blank):
    """Of one sequence (T, V): labels -> their probability, alignment by alignment."""
    odds = np.exp(log_softmax(np.asarray(logits, np.float64)))
    found = defaultdict(float)
    for path in itertools.product(range(odds.shape[1]), repeat=len(odds)):
        found[collapse(path, blank)] += np.prod(odds[np.arange(len(odds)), path])
    return found


def ctc_loss(logits, labels, blank):
    """(loss, gradient by the logits) of one sequence (T, V).

    The gradient is that of the definition: each alignment's share of the probability, at the
    classes that it visits, taken from the softmax.
    """
    odds = np.exp(log_softmax(np.asarray(logits, np.float64)))
    steps, classes = odds.shape
    total, visits = 0.0, np.zeros(odds.shape)
    for path in itertools.product(range(classes), repeat=steps):
        if collapse(path, blank) == tuple(labels):
            probability = np.prod(odds[np.arange(steps), path])
            total += probability
            visits[np.arange(steps), path] += probability
    with np.errstate(divide="ignore", invalid="ignore"):
        return -np.log(total), odds - visits / total
