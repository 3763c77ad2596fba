"""`python -m bench.cuda_host`: what calls of a layer cost the host, before a GPU does anything.

Launches and cuBLAS's products are stubbed out, everything else is done: so this runs on an
emulated device too, and tells the same there. A second pass measures how the time is spent, with
a timer around each part, which itself takes some of it:

- checks: of the arguments
- allocation: from CuPy's pool, zeros' memsets included
- products: what is made ready for cuBLAS
- launch: what is made ready for a launch, up to CuPy's packing of the arguments
- rest: what the whole call takes without timers, less these
"""

import argparse
import sys
from contextlib import contextmanager
from functools import wraps
from time import perf_counter
from unittest.mock import patch

import numpy as np

PARTS = ("checks", "allocation", "products", "launch")
STEPS, INPUTS, HIDDEN = 100, 8, 8


class NoLaunch:
    """In place of a kernel that is loaded: a launch that launches nothing."""

    def __call__(self, *arguments, **options):
        pass


@contextmanager
def nothing_runs():
    """Kernels and products do nothing in here."""
    from gpurnn.kernels.cuda import cublas, graphs
    from gpurnn.kernels.cuda.launching import Kernel

    with (
        patch.object(Kernel, "_function_here", lambda kernel: NoLaunch()),
        patch.object(cublas, "product_of", lambda dtype, tf32: lambda *arguments: None),
        patch.object(graphs, "_graphs", {}),  # those recorded from now on hold nothing
    ):
        yield


class Timers:
    """Where the time of calls goes: seconds of each part, without what other parts took in it."""

    def __init__(self):
        self.seconds, self._inside = dict.fromkeys(PARTS, 0.0), []

    def around(self, part, function):
        @wraps(function)
        def timed(*arguments, **options):
            self._inside.append(0.0)
            start = perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                took = perf_counter() - start
                self.seconds[part] += took - self._inside.pop()
                if self._inside:
                    self._inside[-1] += took

        return timed

    @contextmanager
    def measuring(self):
        """Put timers around the functions that make up the parts."""
        import cupy

        from gpurnn.kernels.cuda import recurrence, stepping
        from gpurnn.kernels.cuda.launching import Kernel
        from gpurnn.layers.recurrent import Recurrent
        from gpurnn.layers.stream import Stream

        places = [
            ("checks", Recurrent, "_check_sequences"), ("checks", Recurrent, "_check_state"),
            ("checks", Stream, "_checked"), ("allocation", cupy, "empty"),
            ("allocation", cupy, "zeros"), ("allocation", cupy.cuda, "alloc"),
            ("products", recurrence, "multiply"), ("products", recurrence, "multiply_rows"),
            ("products", stepping, "multiply_rows"),
            ("launch", Kernel, "__call__"), ("launch", Kernel, "launch_together"),
        ]  # fmt: skip
        patches = [
            patch.object(owner, name, self.around(part, getattr(owner, name)))
            for part, owner, name in places
        ]
        for each in patches:
            each.start()
        try:
            yield self
        finally:
            for each in patches:
                each.stop()


def least_of(call, rounds=200):
    """The least time of many calls, in seconds."""
    times = []
    for _ in range(rounds):
        start = perf_counter()
        call()
        times.append(perf_counter() - start)
    return min(times)


def split_of(call, rounds=200):
    """The seconds of each part in the quickest of many calls."""
    quickest, parts = float("inf"), {}
    for _ in range(rounds):
        with Timers().measuring() as timers:
            start = perf_counter()
            call()
            took = perf_counter() - start
        if took < quickest:
            quickest, parts = took, timers.seconds
    return parts


def calls_of(cell):
    """Name -> a call to be timed, all of whose kernels have been compiled."""
    import cupy

    import gpurnn

    layer = gpurnn.Recurrent(cell, INPUTS, HIDDEN, device="cuda", rng=0)
    stream = layer.stream()
    x = cupy.zeros((STEPS, 1, INPUTS), np.float32)
    step, dy, out = x[0], cupy.zeros((STEPS, 1, HIDDEN), np.float32), stream.step(x[0])
    layer(x)
    layer.forward(x)[2](dy)
    with nothing_runs():
        backward = layer.forward(x)[2]
    return {
        "call": lambda: layer(x),
        "forward": lambda: layer.forward(x),
        "backward": lambda: backward(dy),
        "step": lambda: stream.step(step, out),
    }


def main(arguments=None):
    from bench.cuda_static import CELLS

    parser = argparse.ArgumentParser("python -m bench.cuda_host", description=__doc__)
    parser.add_argument("--cell", action="append", choices=list(CELLS), help="repeatable")
    options = parser.parse_args(arguments)
    import gpurnn

    if not gpurnn.cuda.is_available():
        print(f"skipped: {gpurnn.cuda.why_not()}")
        return 0
    print(f"Host µs of a call, float32, T {STEPS}, B 1, H {HIDDEN}; least of 200, nothing runs on")
    print("the device.\n")
    print(f"{'cell':<12}{'schedule':<12}{'':<10}{'whole':>7}  "
          + "".join(f"{part:>12}" for part in (*PARTS, "rest")))  # fmt: skip
    try:
        for name in options.cell or list(CELLS):
            for schedule in ("stepwise", "persistent"):
                gpurnn.cuda.schedule(schedule)
                for kind, call in calls_of(CELLS[name]).items():
                    with nothing_runs():
                        whole, parts = least_of(call), split_of(call)
                    parts["rest"] = whole - sum(parts.values())
                    print(f"{name:<12}{schedule:<12}{kind:<10}{1e6 * whole:>7.0f}  "
                          + "".join(f"{1e6 * parts[part]:>12.1f}" for part in parts))  # fmt: skip
    finally:
        gpurnn.cuda.schedule("auto")
    return 0


if __name__ == "__main__":
    sys.exit(main())
