"""Searching for likely sequences with a model that gives one symbol after another."""

from typing import NamedTuple

import numpy as np


class Hypothesis(NamedTuple):
    """What a sequence may be decoded to.

    tokens: NumPy integers (n,), without the end; score: the logarithm of their probability and
    that of the end after them; attention: NumPy (n + 1, Ts), of each token, and of the end, to
    the steps of its source.
    """

    tokens: np.ndarray
    score: float
    attention: np.ndarray


def log_softmax(logits):
    """The logarithms of the probabilities, float64, along the last axis."""
    logits = logits.astype(np.float64)
    logits -= logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def greedy_search(step, batch, begin, end, max_length):
    """The likeliest symbol at every step: a list of `batch` hypotheses.

    step: a function (tokens (N,), rows (N,)) -> logits (N, V), attention (N, Ts), NumPy; it
    keeps the states of N sequences, and goes on from those of `rows`. After `max_length` tokens
    only the end may follow.
    """
    tokens, rows, alive = np.full(batch, begin), np.arange(batch), np.ones(batch, bool)
    chosen, attended, scores = [], [], np.zeros(batch)
    counts = np.zeros(batch, np.intp)
    for length in range(max_length + 1):
        logits, attention = step(tokens, rows)
        log_p = log_softmax(logits)
        tokens = log_p.argmax(-1) if length < max_length else np.full(batch, end)
        scores[alive] += log_p[rows, tokens][alive]
        chosen.append(tokens)
        attended.append(attention)
        alive &= tokens != end
        counts[alive] += 1
        if not alive.any():
            break
    chosen, attended = np.stack(chosen, 1), np.stack(attended, 1)
    return [
        Hypothesis(chosen[b, :n], float(scores[b]), attended[b, : n + 1])
        for b, n in enumerate(counts)
    ]


class _Path:
    """The steps of a beam search so far, as they are needed to trace a hypothesis back."""

    def __init__(self):
        self.tokens, self.rows, self.attention = [], [], []

    def trace(self, row, score):
        """What stands in this row, with the end after it."""
        tokens, attention = [], [self.attention[-1][row]]
        for t in range(len(self.tokens) - 1, -1, -1):
            tokens.append(self.tokens[t][row])
            row = self.rows[t][row]
            attention.append(self.attention[t][row])
        return Hypothesis(np.array(tokens[::-1], np.int64), float(score), np.stack(attention[::-1]))


def beam_search(step, batch, width, begin, end, max_length, length_penalty):
    """For each of `batch` sequences a list of up to `width` hypotheses, best first.

    step: as for `greedy_search`, of N = batch · width sequences. Hypotheses are ordered by their
    score divided by (tokens + 1) ** length_penalty. A sequence is done when none that still
    grows can come among its best.
    """
    rows = np.arange(batch * width)
    tokens, scores = np.full(batch * width, begin), np.full((batch, width), -np.inf)
    scores[:, 0] = 0  # all are the same at first
    path, found, done = _Path(), [[] for _ in range(batch)], np.zeros(batch, bool)
    for length in range(max_length + 1):
        logits, attention = step(tokens, rows)
        path.attention.append(attention)
        log_p = log_softmax(logits).reshape(batch, width, -1)
        totals = scores[:, :, None] + log_p
        classes = totals.shape[2]
        for b in np.flatnonzero(~done):
            ended = [
                (total / (length + 1) ** length_penalty, (b * width + k, total))
                for k, total in enumerate(totals[b, :, end])
                if total > -np.inf
            ]
            best = sorted(found[b] + ended, key=lambda each: -each[0])[:width]
            # Traced only now: most of what ends is never among the best.
            found[b] = [
                (rank, what if isinstance(what, Hypothesis) else path.trace(*what))
                for rank, what in best
            ]
        if length == max_length:
            break
        totals[:, :, end] = -np.inf
        flat = totals.reshape(batch, -1)
        best = np.argsort(-flat, axis=1, kind="stable")[:, :width]
        scores = np.take_along_axis(flat, best, 1)
        rows = (best // classes + width * np.arange(batch)[:, None]).reshape(-1)
        tokens = (best % classes).reshape(-1)
        path.tokens.append(tokens)
        path.rows.append(rows)
        # More tokens make no total larger, but may divide it by more.
        attainable = scores[:, 0] / (max_length + 1) ** length_penalty
        done |= [len(of) == width and of[-1][0] >= limit for of, limit in zip(found, attainable)]
        if done.all():
            break
    return [[hypothesis for _, hypothesis in of] for of in found]
