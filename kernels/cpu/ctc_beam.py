"""Prefix beam search over what a network trained with CTC says, a sequence a thread.

Prefixes are nodes of a tree, found again when they come back: all alignments of one prefix are
counted together, by whether they end in a blank (Hannun et al. 2014, algorithm 1, without a
language model).
"""

import numpy as np

from .compiling import inlined, kernel
from .threads import run_parallel, shares, split


@inlined
def _log_add(a, b):
    if a < b:
        a, b = b, a
    return a + np.log1p(np.exp(b - a)) if b > -np.inf else a


@inlined
def _log_softmax(logits, t, b, log_p):
    highest, total = -np.inf, 0.0
    for k in range(log_p.size):
        log_p[k] = logits[t, b, k]
        highest = max(highest, log_p[k])
    for k in range(log_p.size):
        total += np.exp(log_p[k] - highest)
    log_p -= highest + np.log(total)


@inlined
def _offer(score, source, token, scores, sources, tokens, count):
    """Put a candidate into the list of the best, in descending order; returns its new length."""
    if score == -np.inf or (count == scores.size and score <= scores[count - 1]):
        return count
    if count < scores.size:
        count += 1
    i = count - 1
    while i > 0 and scores[i - 1] < score:
        scores[i], sources[i], tokens[i] = scores[i - 1], sources[i - 1], tokens[i - 1]
        i -= 1
    scores[i], sources[i], tokens[i] = score, source, token
    return count


@kernel("ctc_beam")
def _search(logits, lengths, blank, first, last, tokens, counts, scores):
    """Fill tokens (B, width, T), counts (B, width), scores (B, width): -1 and -inf for none."""
    classes, width = logits.shape[2], scores.shape[1]
    log_p, taken = np.empty(classes), np.zeros((width, classes), np.bool_)
    whole, stay_blank, stay_label, best = (
        np.empty(width),
        np.empty(width),
        np.empty(width),
        np.empty(width),
    )
    sources, added = np.empty(width, np.intp), np.empty(width, np.intp)
    for b in range(first, last):
        nodes = 1 + width * lengths[b]
        parent, token = np.full(nodes, -1), np.full(nodes, -1)
        first_child, sibling, place = np.full(nodes, -1), np.full(nodes, -1), np.full(nodes, -1)
        beam, of_blank, of_label = (
            np.zeros(width, np.intp),
            np.zeros(width),
            np.full(width, -np.inf),
        )
        size, made, place[0] = 1, 1, 0
        for t in range(lengths[b]):
            _log_softmax(logits, t, b, log_p)
            for i in range(size):
                whole[i] = _log_add(of_blank[i], of_label[i])
            taken[:size] = False
            count = 0
            for i in range(size):
                node = beam[i]
                stay_blank[i], stay_label[i] = whole[i] + log_p[blank], -np.inf
                if node:
                    stay_label[i] = of_label[i] + log_p[token[node]]
                    j = place[parent[node]]
                    if j >= 0:
                        # The prefix one label shorter is in the beam too, and can become this.
                        taken[j, token[node]] = True
                        origin = of_blank[j] if token[beam[j]] == token[node] else whole[j]
                        stay_label[i] = _log_add(stay_label[i], origin + log_p[token[node]])
                score = _log_add(stay_blank[i], stay_label[i])
                count = _offer(score, i, -1, best, sources, added, count)
            for i in range(size):
                for k in range(classes):
                    if k != blank and not taken[i, k]:
                        origin = of_blank[i] if token[beam[i]] == k else whole[i]
                        count = _offer(origin + log_p[k], i, k, best, sources, added, count)
            old_beam = beam.copy()
            place[old_beam[:size]] = -1
            for i in range(count):
                node = old_beam[sources[i]]
                if added[i] < 0:
                    of_blank[i], of_label[i] = stay_blank[sources[i]], stay_label[sources[i]]
                else:
                    of_blank[i], of_label[i] = -np.inf, best[i]
                    child = first_child[node]
                    while child >= 0 and token[child] != added[i]:
                        child = sibling[child]
                    if child < 0:
                        child, made = made, made + 1
                        parent[child], token[child] = node, added[i]
                        sibling[child], first_child[node] = first_child[node], child
                    node = child
                beam[i], place[node] = node, i
            size = count
        scores[b], counts[b] = -np.inf, -1
        for i in range(size):
            scores[b, i] = _log_add(of_blank[i], of_label[i])
            node, depth = beam[i], 0
            while node:
                node, depth = parent[node], depth + 1
            node, counts[b, i] = beam[i], depth
            while node:
                depth -= 1
                tokens[b, i, depth] = token[node]
                node = parent[node]


def ctc_beam_search(logits, lengths, blank, width):
    """The likeliest labels of each sequence and the logarithms of their probabilities.

    logits (T, B, V), lengths (B,) -> tokens (B, width, T), how many of them (B, width), scores
    (B, width), best first; -1 and -inf where there are fewer.
    """
    steps, batch, classes = logits.shape
    tokens, counts = np.full((batch, width, steps), -1), np.empty((batch, width), np.intp)
    scores = np.empty((batch, width))
    bounds = split(batch, shares(10 * steps * batch * width * classes))
    run_parallel(
        _search, [(logits, lengths, blank, *bound, tokens, counts, scores) for bound in bounds]
    )
    return tokens, counts, scores
