"""A pool of threads that take up calls within microseconds.

To hand a call to a pool of the standard library, and to wait for it, takes some 50 microseconds:
a second thread would save nothing of a kernel of 100. Here it takes some 15. Who waits, for
a call or for its end, first looks again and again without holding the GIL, and only then sleeps;
and a call that no worker has begun is made by the thread that waits for it.
"""

import _thread
import threading

import numpy as np

from .compiling import kernel
from .crew import expect_calls, expect_worker, look_for_work, new_crew
from .placement import Placement
from .waiting import LINE, look_for, write

_LOOKS = 700  # before sleep: some 100 microseconds, twice as many if a call is expected
_CALLED, _DONE = 0, LINE  # of a worker's board, a cache line each: the number of its last call

# Both run without the GIL, and what wakes the other is written without it: to find it taken means
# to sleep.


@kernel("await_call")
def _await_call(board, number, crew, worker):
    """Tell that call `number` was made; wait a little for the next, or for others' work."""
    write(board, _DONE, number)
    look_for_work(crew, worker, board, _CALLED, number + 1, _LOOKS)


@kernel("await_end")
def _await_end(board, number):
    """Wait a little till call `number` was made."""
    look_for(board, _DONE, number, _LOOKS)


class Call:
    """One call of a function, to be made once: by a worker or by who waits for it."""

    def __init__(self, function, arguments, board, number):
        self._todo = [(function, arguments)]
        self._board, self._number, self._error = board, number, None
        self._done = _thread.allocate_lock()
        self._done.acquire()

    def _claim(self):
        """What is to be called, for the first who asks."""
        try:
            return self._todo.pop()
        except IndexError:
            return None

    def make(self):
        """By the worker: make the call, unless that is done, and wake who sleeps till then."""
        claimed = self._claim()
        if claimed is not None:
            function, arguments = claimed
            try:
                function(*arguments)
            except BaseException as error:
                self._error = error
        self._done.release()

    def finish(self):
        """Return when the call was made, here if nobody has begun. Raises what it raised."""
        claimed = self._claim()
        if claimed is not None:
            function, arguments = claimed
            function(*arguments)
            return
        _await_end(self._board, self._number)
        self._done.acquire()
        if self._error is not None:
            raise self._error


def _do_nothing():
    pass


class _Worker:
    def __init__(self, workers, place):
        self._workers, self.place, self._number = workers, place, 0
        self._board, self._call = np.zeros(_DONE + 1, np.int64), None
        self._called = _thread.allocate_lock()
        self._called.acquire()
        self.thread = threading.Thread(target=self._work, name="gpurnn", daemon=True)
        self.thread.start()

    def prepare(self, function, arguments):
        """The call that it will make once it is called."""
        self._number += 1
        self._call = Call(function, arguments, self._board, self._number)
        return self._call

    def call(self):
        """Let it make the call prepared, or end if there is none."""
        self._board[_CALLED] = self._number
        self._called.release()

    def _work(self):
        self._workers.placement.register()
        number, stays = 0, True
        while stays:
            _await_call(self._board, number, self._workers.crew, self.place)
            self._called.acquire()
            number += 1
            call, self._call = self._call, None
            if call is None:
                return
            call.make()
            del call  # and with it the arrays
            stays = self._workers.take_back(self)


class Workers:
    """Up to `most` threads, which are started when there is something for them to do."""

    def __init__(self, most):
        self.placement, self.crew = Placement(), new_crew(most)
        self._lock, self._idle, self._to_come = threading.Lock(), [], most

    def give(self, function, calls):
        """Give a worker each of `calls`, tuples of arguments, as far as there are free ones.

        Returns as many `Call`s as there were workers; all must be finished.
        """
        with self._lock:
            workers = [self._free() for _ in calls[: len(self._idle) + self._to_come]]
        self.placement.avoid_this_core()
        prepared = [worker.prepare(function, call) for worker, call in zip(workers, calls)]
        for worker in workers:  # last, as they will want the GIL at once
            worker.call()
        return prepared

    def rouse(self, wanted):
        """Let so many workers look for work without the GIL, as far as there are any."""
        looks = expect_calls(self.crew)
        missing = wanted - np.count_nonzero(looks)
        if missing > 0:
            with self._lock:
                asleep = [worker for worker in self._idle if not looks[worker.place]][:missing]
                new = [self._hire() for _ in range(min(missing - len(asleep), self._to_come))]
                for worker in asleep:
                    self._idle.remove(worker)
                asleep += new
            for worker in asleep:
                expect_worker(self.crew, worker.place)
                worker.prepare(_do_nothing, ())
                worker.call()

    def _free(self):
        # The last that was busy, which may not sleep yet.
        return self._idle.pop() if self._idle else self._hire()

    def _hire(self):
        worker = _Worker(self, self._to_come - 1)
        self._to_come -= 1
        return worker

    def take_back(self, worker):
        """By a worker that has made its call: whether there may be more for it."""
        with self._lock:
            if self._idle is not None:
                self._idle.append(worker)
                return True
        return False

    def dismiss(self):
        """Let all threads end; those that are busy do so later, when they have made their call."""
        with self._lock:
            idle, self._idle = self._idle, None
        for worker in idle:
            worker.call()
        for worker in idle:
            worker.thread.join()
