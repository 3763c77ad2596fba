"""Losses in plain NumPy float64: `(loss, its gradient by the first argument)`."""

import numpy as np


def softmax_cross_entropy(logits, targets, ignore_index=-100):
    """-log softmax(logits)[target], mean over the targets that are not `ignore_index`."""
    rows = np.asarray(logits, np.float64).reshape(-1, logits.shape[-1])
    marks = np.asarray(targets).reshape(-1)
    kept = [n for n in range(len(marks)) if marks[n] != ignore_index]
    loss, gradient = 0.0, np.zeros(rows.shape)
    for n in kept:
        shifted = rows[n] - rows[n].max()
        probabilities = np.exp(shifted) / np.exp(shifted).sum()
        loss -= (shifted[marks[n]] - np.log(np.exp(shifted).sum())) / len(kept)
        gradient[n] = probabilities / len(kept)
        gradient[n, marks[n]] -= 1 / len(kept)
    return loss, gradient.reshape(logits.shape)


def mean_squared_error(prediction, target):
    difference = np.asarray(prediction, np.float64) - np.asarray(target, np.float64)
    return np.mean(difference**2), 2 * difference / difference.size


def sigmoid_cross_entropy(logits, targets):
    """-(t log s(a) + (1 - t) log(1 - s(a))), mean over all; log s(a) = -log(1 + exp(-a))."""
    a, t = np.asarray(logits, np.float64), np.asarray(targets, np.float64)
    loss = np.mean(t * np.logaddexp(0, -a) + (1 - t) * np.logaddexp(0, a))
    return loss, (np.exp(-np.logaddexp(0, -a)) - t) / a.size
