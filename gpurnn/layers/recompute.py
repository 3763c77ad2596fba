"""Time for memory: keep the states of a few steps only, and run each segment again going back."""

from dataclasses import dataclass

import numpy as np

from ..kernels.extras import of_segment


@dataclass
class _Tape:
    """The forward pass's inputs, and the states before each segment, in the order of running."""

    extras: tuple
    x: object
    lengths: np.ndarray | None
    reverse: bool
    segments: list
    states: list


class RecomputedRecurrence:
    """A device's `Recurrence` that remembers its states only every so many steps.

    T. Chen et al., "Training deep nets with sublinear memory cost", 2016. Forward and backward
    take and give what those of `Recurrence` do; going back runs each segment forward once more.
    """

    def __init__(self, recurrence, every):
        self._recurrence, self._every = recurrence, every

    def stepper(self, state, steps=1):
        return self._recurrence.stepper(state, steps)

    def forward(self, weights, extras, x, state, lengths, reverse, y, column, keep):
        if not keep:
            return self._recurrence.forward(
                weights, extras, x, state, lengths, reverse, y, column, keep=False
            )
        starts = range(0, len(x), self._every)
        segments = [slice(first, min(first + self._every, len(x))) for first in starts]
        tape = _Tape(extras, x, lengths, reverse, segments[::-1] if reverse else segments, [])
        for segment in tape.segments:
            tape.states.append(state)
            state, _ = self._recurrence.forward(
                weights, of_segment(extras, segment), x[segment], state,
                _within(lengths, segment), reverse, y[segment], column, keep=False,
            )  # fmt: skip
        return state, tape

    def backward(self, weights, tape, dy, column, dstate, grads, dx, resume):
        y = None
        for segment, state in zip(reversed(tape.segments), reversed(tape.states)):
            lengths, x = _within(tape.lengths, segment), tape.x[segment]
            if y is None or len(y) < len(x):
                y = dy[segment].copy()  # room for what the forward pass writes once more
            _, kept = self._recurrence.forward(
                weights, of_segment(tape.extras, segment), x, state, lengths, tape.reverse,
                y[: len(x)], column, keep=True,
            )  # fmt: skip
            dstate = self._recurrence.backward(
                weights, kept, dy[segment], column, dstate, grads, dx[segment], resume
            )
        return dstate


def _within(lengths, segment):
    """How many of the segment's steps each sequence has."""
    if lengths is None:
        return None
    return np.clip(lengths - segment.start, 0, segment.stop - segment.start)
