"""Waiting until a library's threads sleep: they would disturb whoever is timed next.

OpenBLAS's threads wait for more work at full speed for 25 ms on some machines and 110 ms on
others, ONNX Runtime's for 50 ms, PyTorch's for 10 ms.
"""

import time

SLICE_SECONDS = 0.01
IDLE_SLICES = 2  # one may be quiet because other processes had the cores
BUSY = 0.05  # of a core
LONGEST_SECONDS = 0.5


def settle():
    """Return when this process has hardly used a core for a while, or after half a second."""
    end, idle = time.perf_counter() + LONGEST_SECONDS, 0
    while idle < IDLE_SLICES and time.perf_counter() < end:
        before = time.process_time()
        time.sleep(SLICE_SECONDS)
        used = time.process_time() - before
        idle = idle + 1 if used < BUSY * SLICE_SECONDS else 0
