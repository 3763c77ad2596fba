"""On which cores worker threads run."""

import ctypes
import os
import threading


class Placement:
    """Keeps the pool's threads off the core that the calling thread is on.

    A system that wakes a thread may put it there, expecting its waker to sleep soon; but here the
    waker works on, and the two would take turns on one core for some milliseconds. Only where
    the system lets us know cores and choose among them (Linux).
    """

    def __init__(self):
        self._workers, self._avoided = set(), None
        library = ctypes.CDLL(None) if hasattr(os, "sched_setaffinity") else None
        self._core_here = getattr(library, "sched_getcpu", None)

    def register(self):
        """By a worker, when it begins."""
        self._workers.add(threading.get_native_id())
        self._avoided = None

    def avoid_this_core(self):
        """By the calling thread, before it wakes workers."""
        here = self._core_here() if self._core_here else -1
        if here < 0 or here == self._avoided:
            return
        self._avoided = here
        others = os.sched_getaffinity(0) - {here}
        for worker in tuple(self._workers) if others else ():
            try:
                os.sched_setaffinity(worker, others)
            except OSError:  # the worker has ended, or the system does not allow it
                self._workers.discard(worker)
