"""From a network trained with CTC to labels."""

import numpy as np

from ..arrays import check_lengths, check_size, to_numpy
from ..kernels.cpu.ctc_beam import ctc_beam_search
from .ctc import check_blank
from .losses import check_floats


def _check(logits, lengths, blank):
    logits = check_floats(logits, "logits")
    if logits.ndim != 3:
        raise ValueError(f"logits: expected (T, B, V), got {logits.shape}")
    steps, batch, classes = logits.shape
    if lengths is None:
        lengths = np.full(batch, steps)
    lengths = check_lengths(lengths, "lengths", batch, 1, steps)
    return logits, lengths, check_blank(blank, classes)


def ctc_greedy_decode(logits, lengths=None, *, blank=0):
    """The labels of the likeliest alignment: repetitions merged, blanks taken out.

    logits: array (T, B, V); lengths: integers (B,), None for T everywhere. Returns a list of B
    NumPy arrays of integers. Source: Graves et al. (2006), section 3.2, best path decoding.
    Raises TypeError or ValueError as `ctc_loss`.
    """
    logits, lengths, blank = _check(logits, lengths, blank)
    paths = to_numpy(logits.argmax(-1))
    decoded = []
    for path, length in zip(paths.T, lengths):
        path = path[:length]
        new = np.append(True, path[1:] != path[:-1])
        decoded.append(path[new & (path != blank)])
    return decoded


def ctc_beam_decode(logits, lengths=None, *, width=16, blank=0):
    """The likeliest labels, each with all its alignments, by a search for prefixes.

    Parameters
    ----------
    logits : array (T, B, V), float32 or float64, not normalised; from CUDA they are copied, for
        the search runs on the CPU
    lengths : integers (B,), from 1 to T; None stands for T everywhere
    width : int
        How many prefixes are followed. With as many as there are, the search is exact.
    blank : int, the class that stands for no label

    Returns
    -------
    A list of B lists of up to `width` pairs, best first: labels, a NumPy array of integers, and
    the logarithm of the probability of those of their alignments that were followed, a float.

    Source: Hannun et al. (2014), algorithm 1. Raises TypeError or ValueError as `ctc_loss`.
    """
    logits, lengths, blank = _check(logits, lengths, blank)
    width = check_size(width, "width")
    tokens, counts, scores = ctc_beam_search(to_numpy(logits), lengths, blank, width)
    return [
        [(of[:n].copy(), float(score)) for of, n, score in zip(*each) if n >= 0]
        for each in zip(tokens, counts, scores)
    ]
