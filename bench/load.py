"""How busy others keep the processors meanwhile: what times are worth."""

import os
import time
from pathlib import Path

STAT = Path("/proc/stat")
IDLE = (3, 4)  # idle, waiting for input and output
COUNTED_TWICE = (8, 9)  # guests are in user time already
WORTH_A_WARNING = 0.2  # of a core


class Load:
    """Cores' worth of work of other processes (or other virtual machines) from now on."""

    def __init__(self):
        self._start = self._now()

    def of_others(self):
        """Cores on average since the start; None where the system does not tell (not Linux)."""
        if self._start is None:
            return None
        wall, busy, own = (b - a for a, b in zip(self._start, self._now()))
        return max(0.0, busy - own) / wall

    @staticmethod
    def _now():
        try:
            ticks = [int(part) for part in STAT.read_text().splitlines()[0].split()[1:]]
        except OSError:
            return None
        skipped = IDLE + COUNTED_TWICE
        busy = sum(count for i, count in enumerate(ticks) if i not in skipped)
        own = sum(os.times()[:4])
        return time.perf_counter(), busy / os.sysconf("SC_CLK_TCK"), own


def warning(cores):
    if cores is None or cores < WORTH_A_WARNING:
        return None
    return f"others kept {cores:.1f} cores busy meanwhile: do not trust the times"
