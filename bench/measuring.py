"""Check first, then time: peers of one case in interleaved rounds."""

import statistics
import time

import numpy as np

from bench.idle import settle

SAMPLE_SECONDS = 0.02  # a sample is as many calls as fill this
LEAST_ROUNDS = 3  # whatever they cost
SLOW = 4  # times the quickest: such a peer's time decides nothing, so it gets no further rounds
TOLERANCE = 1e-3  # float32, long sums, of the largest number: tells another result, not a rounding
CALLS_CHECKED = 3  # the last one's result counts: streams have a state by then


class Disagreement(Exception):
    """A peer computes something else: its time would mean nothing."""


def check(case, mode, prepared):
    """Greatest difference from the last of the peers, of that one's largest number, by name."""
    results = {name: _result(peer, mode) for name, peer in prepared.items()}
    *names, judge = results
    differences = {}
    for name in names:
        differences[name] = max(
            float(np.max(np.abs(a - b)) / max(np.max(np.abs(b)), 1e-6))
            for a, b in zip(results[name], results[judge], strict=True)
        )
        if not differences[name] < TOLERANCE:  # NaN too
            raise Disagreement(
                f"{case} {mode}: {name} differs from {judge} by {differences[name]:.3g}"
            )
    return differences


def _result(peer, mode):
    for _ in range(CALLS_CHECKED if mode == "stream" else 1):
        parts = peer.run()
    return [peer.to_numpy(part) for part in parts]


def _seconds_a_call(function, calls):
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - start) / calls


def _seconds_once_awake(function):
    """Of one call, but not of a quick function's first, in which its caches and threads wake up."""
    seconds = _seconds_a_call(function, 1)
    return _seconds_a_call(function, 1) if seconds < SAMPLE_SECONDS else seconds


def time_interleaved(functions, rounds, seconds):
    """name -> seconds a call, one sample a round; every round has all peers, in turned order.

    At most `rounds` of them, and after `LEAST_ROUNDS` no further one that would end later than
    `seconds` from the start, and none for slow peers (the first function is no peer).
    """
    start = time.perf_counter()
    single = {name: _seconds_once_awake(function) for name, function in functions.items()}
    calls = {name: max(1, round(SAMPLE_SECONDS / single[name])) for name in functions}
    samples = {name: [] for name in functions}
    names, longest = list(functions), 0.0
    for number in range(rounds):
        begun = time.perf_counter()
        if number == LEAST_ROUNDS:
            quickest = min(min(taken) for taken in samples.values())
            names[1:] = [name for name in names[1:] if min(samples[name]) < SLOW * quickest]
        if number >= LEAST_ROUNDS and begun + longest > start + seconds:
            break
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            settle()
            if single[name] < SAMPLE_SECONDS:
                functions[name]()  # its caches and threads wake up
            samples[name].append(_seconds_a_call(functions[name], calls[name]))
        longest = max(longest, time.perf_counter() - begun)
    return samples


def run_case(case, mode, peers, device, threads, rounds, seconds):
    """One line of the table, as a dict; the first of the peers is gpurnn."""
    prepared = {
        peer.NAME: peer.prepare(case, mode, device, threads) for peer in peers if mode in peer.MODES
    }
    differences = check(case, mode, prepared)
    functions = {name: peer.run for name, peer in prepared.items()}
    samples = time_interleaved(functions, rounds, seconds)
    medians = {name: statistics.median(values) for name, values in samples.items()}
    ours, *others = medians
    best = min(others, key=medians.get) if others else None
    return {
        **vars(case),
        "mode": mode,
        "median_seconds": medians,
        "samples_seconds": samples,
        "best_peer": best,
        "speed_vs_best_peer": medians[best] / medians[ours] if best else None,
        "gflops": case.flops(mode) / medians[ours] / 1e9,
        "differences": differences,
    }
