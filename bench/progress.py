"""How far a run is, on stderr."""

import sys
import time


class Progress:
    """Prints a line a case: its number, its name, and when the rest should be done.

    weights: how long the cases take relative to each other, as far as one can guess.
    """

    def __init__(self, weights):
        self._weights, self._done, self._start = list(weights), 0, time.monotonic()

    def next(self, name):
        left = ""
        if self._done:
            passed = time.monotonic() - self._start
            share = sum(self._weights[: self._done]) / sum(self._weights)
            left = f", {_duration(passed / share - passed)} left"
        self._done += 1
        print(f"{self._done}/{len(self._weights)} {name}{left}", file=sys.stderr, flush=True)


def _duration(seconds):
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"
