"""The arithmetic of CTC's forward-backward recursion (Graves et al. 2006), once for both devices.

The states of a sequence of S labels are S + 1 blanks and S labels, in turn: blank u stands before
label u. All numbers are logarithms of probabilities, the largest of a step about 0: only their
differences matter, and these keep their digits however long the sequence is.
"""

from .mathematics import absolute, select, softplus

NONE = -1e30
"""The logarithm of 0: finite, so that differences are; nothing that happens comes near it."""

IMPOSSIBLE = -1e29
"""What lies below is the logarithm of 0, whatever was added to it."""


def log_add(a, b):
    """log(e^a + e^b)."""
    return select(a > b, a, b) + softplus(-absolute(a - b))


def advance(blank, label, before, may_skip):
    """Blank u and label u a step later, but for what they emit.

    From blank u, label u and label u - 1; `may_skip` where label u may follow label u - 1
    without a blank between them: where the two differ.
    """
    entered = log_add(blank, before)
    return entered, log_add(label, select(may_skip, entered, blank))


def retreat_to_blank(blank, label):
    """Blank u a step earlier, from blank u and label u."""
    return log_add(blank, label)


def retreat_to_label(label, blank_after, either_after, may_skip):
    """Label u a step earlier, from label u, blank u + 1, and blank u + 1 a step earlier.

    `may_skip` where label u + 1 may follow label u at once.
    """
    return log_add(label, select(may_skip, either_after, blank_after))
