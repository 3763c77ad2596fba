"""What a peer hands over to be timed."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.idle import settle

PATIENCE = 0.2  # seconds to try each of several ways


@dataclass
class Prepared:
    """`run()` does a mode's whole work once, the wait for the device included, and returns

    inference: (y,); training: (y, dx, *gradients in the order of `Case.numbers`);
    stream: (y,) of the next step, (B, H), the state kept from call to call.

    `to_numpy` turns each of these into a NumPy array.
    """

    run: Callable[[], tuple]
    to_numpy: Callable


def fastest(*makers):
    """Of several functions that make a `run`, what the one with the quickest `run` makes.

    So every peer is shown at its best. Made anew in the end: streams keep a state.
    """
    if len(makers) == 1:
        return makers[0]()
    return min(makers, key=_least_seconds)()


def _least_seconds(make):
    run = make()
    run()  # the first call compiles, allocates, packs
    settle()
    least, end = float("inf"), time.perf_counter() + PATIENCE
    while least == float("inf") or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        least = min(least, time.perf_counter() - start)
    return least
