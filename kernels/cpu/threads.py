"""The threads that kernels run on: Python's, since kernels release the GIL (see `workers`).

Numba's own parallel loops depend on a threading layer that may abort on concurrent calls or
after a fork. Here concurrent calls share the pool, a forked child makes its own, and work that
one thread does in a few microseconds never leaves the caller's.
"""

import atexit
import os
import threading
import time

from .crew import NOBODY
from .team import all_came, new_board, was_disturbed
from .workers import Workers

SMALL = 3_000_000  # operations of products, some 40 us: less is done before another thread helps
OF_A_FUNCTION = 200  # operations of products that take as long as one exponential, about
# Multiplications of each thread in a step: less cost less than to meet. On the way back all threads
# read parts of the same rows.
STEP_WORTH_SHARING, STEP_WORTH_SHARING_BACK = 6_000, 18_000
LOOP_WORTH_SHARING = 400_000  # in all steps: less is done before a thread that looks has come,
LOOP_WORTH_WAKING = 2_000_000  # or one that sleeps
SOON = 100e-6  # seconds after a call for which threads look for work, about
REST = 0.002  # seconds for which no team forms, once others have wanted the cores
LONGEST_REST = 0.1  # it doubles each time that they still do


def _available_cores():
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_lock = threading.Lock()
_count = _available_cores()
_workers = None
_rest, _rest_until = REST, 0.0
_last_team, _all_came = 0.0, False  # when it ended, and whether all who were wanted took part
_here = threading.local()  # `alone`: this thread's kernels run on it alone


def get_num_threads():
    """How many threads a CPU kernel may use."""
    return _count


def set_num_threads(n):
    """Let CPU kernels use `n` threads (at first: as many as there are cores for the process).

    Raises
    ------
    ValueError
        If `n` is not a whole number of at least 1.
    """
    global _count
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValueError(f"n: expected an integer of at least 1, got {n!r}")
    _count = n
    _dismiss_workers()


@atexit.register
def _dismiss_workers():
    """Others are hired when they are needed, as many as `_count` says then.

    At the program's end none may come back for the GIL while the interpreter is taken apart.
    """
    global _workers
    with _lock:
        before, _workers = _workers, None
    if before:
        before.dismiss()


def _forget_workers():
    """In a forked child, which has none of its parent's threads."""
    global _workers, _lock
    _workers, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_workers)


def _at_hand():
    return 1 if getattr(_here, "alone", False) else _count


def shares(work):
    """Over how many threads to spread `work` operations, multiplications and additions."""
    return 1 if work < SMALL else _at_hand()


def team_for(steps, multiplications, meetings, back=False):
    """How many threads should share the hidden units of a time loop, and whether to wake some.

    `multiplications` and `meetings` are those of a step, which may be one of the way `back`.
    """
    loop = steps * multiplications
    if loop < LOOP_WORTH_SHARING or time.monotonic() < _rest_until:
        return 1, False
    worth = (STEP_WORTH_SHARING_BACK if back else STEP_WORTH_SHARING) * meetings
    return max(1, min(_at_hand(), multiplications // worth)), loop >= LOOP_WORTH_WAKING


def _hired():
    """The pool; to be called, and used, under the lock: workers that are dismissed meanwhile take
    no more calls."""
    global _workers
    if _workers is None:
        _workers = Workers(_count - 1)
    return _workers


def run_parallel(function, calls):
    """Call `function` with each tuple of arguments in `calls`, the first in this thread.

    So are those for which no other thread is free.
    """
    if len(calls) == 1:
        function(*calls[0])
        return
    with _lock:
        given = _hired().give(function, calls[1:])
    try:
        function(*calls[0])
        for arguments in calls[1 + len(given) :]:
            function(*arguments)
    finally:
        for call in given:
            call.finish()


run_together = map
"""What runs both directions of a layer where they are not better run side by side."""


def run_side_by_side(function, arguments):
    """[function(a) for a in arguments], each in a thread of its own, and all it calls there too."""
    results = [None] * len(arguments)

    def run(i, argument):
        _here.alone = True
        try:
            results[i] = function(argument)
        finally:
            _here.alone = False

    run_parallel(run, list(enumerate(arguments)))
    return results


def run_team(function, members, wakes, arguments):
    """Call a `team_kernel` in up to `members` threads that work together.

    The leader, this one, does not need the others: those that have not begun when it is done never
    will. Who sleeps is woken if the loop is long (`wakes`), or if one follows the other.
    """
    if members == 1:
        function(NOBODY, new_board(1, NOBODY), *arguments)
        return
    global _last_team, _all_came, _rest, _rest_until
    soon = time.monotonic() < _last_team + SOON
    with _lock:
        workers = _hired()
        if wakes or soon and not _all_came:
            workers.rouse(members - 1)
        workers.placement.avoid_this_core()
    board = new_board(members, workers.crew)
    function(workers.crew, board, *arguments)
    _last_team, _all_came = time.monotonic(), all_came(board)
    if was_disturbed(board):
        _rest_until = _last_team + _rest
        _rest = min(2 * _rest, LONGEST_REST)
    else:
        _rest = REST


def shared(total, parts):
    """Bounds [(first, last), ...] of `total` things in `parts` nearly equal parts."""
    bounds = [total * i // parts for i in range(parts + 1)]
    return list(zip(bounds, bounds[1:]))


def split(total, parts):
    """As `shared`, but in no more parts than there are things, and in at least one."""
    return shared(total, max(1, min(parts, total)))
