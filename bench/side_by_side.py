"""A line for a case: the first of several functions, and how many times as fast as the others."""

import statistics

import numpy as np

from bench.measuring import check, time_interleaved
from bench.prepared import Prepared


def side_by_side(shape, training, runs, options, unlike=None):
    """Print the line of `runs`, functions by name whose results are compared first.

    `unlike` are those that compute something else of the same size.
    """
    mode, title = "training" if training else "inference", ",".join(map(str, shape))
    check(title, mode, {name: Prepared(run, np.asarray) for name, run in runs.items()})
    samples = time_interleaved(runs | (unlike or {}), options.rounds, options.seconds)
    ours, *others = ((name, statistics.median(values)) for name, values in samples.items())
    ratios = "".join(f", {t / ours[1]:.2f} times as fast as {name}" for name, t in others)
    print(f"{f'{title} {mode}':<28}{1e3 * ours[1]:>9.3f} ms{ratios}", flush=True)
