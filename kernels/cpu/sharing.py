"""Which sequences each thread has, and how many of them reach each step."""

from functools import lru_cache

import numpy as np

from .product import FEWEST_ROWS
from .threads import get_num_threads, split

FEW = FEWEST_ROWS  # sequences for which the weights are better used as they lie, by units


@lru_cache(maxsize=64)
def _all_reach(first, last, steps):
    """Sequences first .. last - 1, and how many of them reach each step, if all of them do."""
    return np.arange(first, last), np.full(steps, last - first)


def spread(lengths, steps, batch, threads):
    """For each thread its sequences by falling length, and how many of them reach each step."""
    if lengths is None:
        bounds = [(0, batch)] if threads == 1 else split(batch, threads)
        return [_all_reach(first, last, steps) for first, last in bounds]
    order = np.argsort(-lengths, kind="stable")
    parts = [np.ascontiguousarray(order[i::threads]) for i in range(threads)]
    return [(p, (lengths[p] > np.arange(steps)[:, None]).sum(1)) for p in parts]


def end_slots(lengths, steps, batch, slots, reverse):
    """Where in a history (S, slots, B, H') the initial and the final states of all sequences are.

    Each an index of its axes `slots` and B; for the layout see `passes`.
    """
    begin = 0, slice(None)
    # By numbers where one will do: NumPy takes ten times as long to look up arrays of them.
    end = (steps % slots, slice(None)) if lengths is None else (lengths % slots, np.arange(batch))
    return (end, begin) if reverse else (begin, end)


def directions_apart(batch):
    """Whether two directions of so many sequences are better run at once, on a thread each.

    Batches spread over threads anyway, without waiting for each other; and of many threads two
    would be too few.
    """
    return batch <= FEW and 2 <= get_num_threads() < 4


def steps_together(steps, batch):
    """Whether a `stepper` takes so many steps of so many sequences at a time."""
    return steps == 1 or batch <= FEW
