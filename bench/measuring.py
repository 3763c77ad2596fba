"""Check first, then time: peers of one case in interleaved rounds."""

import statistics
import time

import numpy as np

SAMPLE_SECONDS = 0.02  # a sample is as many calls as fill this
PAUSE_SECONDS = 0.05  # between peers: OpenBLAS's threads wait for work some 25 ms, at full speed
TOLERANCE = 1e-3  # float32, long sums, of the largest number: tells another result, not a rounding


class Disagreement(Exception):
    """A peer computes something else: its time would mean nothing."""


def check(case, mode, prepared):
    """Greatest difference from the last of the peers, of that one's largest number, by name."""
    results = {name: [p.to_numpy(part) for part in p.modes[mode]()] for name, p in prepared.items()}
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


def _seconds_a_call(function, calls):
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - start) / calls


def time_interleaved(functions, rounds):
    """name -> seconds a call, one sample a round; every round has all peers, in turned order."""
    names = list(functions)
    calls = {
        name: max(1, round(SAMPLE_SECONDS / _seconds_a_call(f, 1))) for name, f in functions.items()
    }
    samples = {name: [] for name in names}
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            time.sleep(PAUSE_SECONDS)
            functions[name]()
            samples[name].append(_seconds_a_call(functions[name], calls[name]))
    return samples


def run_case(case, mode, peers, device, threads, rounds):
    """One line of the table, as a dict; the first of the peers is gpurnn."""
    prepared = {peer.NAME: peer.prepare(case, device, threads) for peer in peers}
    prepared = {name: p for name, p in prepared.items() if mode in p.modes}
    differences = check(case, mode, prepared)
    samples = time_interleaved({name: p.modes[mode] for name, p in prepared.items()}, rounds)
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
