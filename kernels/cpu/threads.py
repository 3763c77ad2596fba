"""The threads that kernels run on: a pool of Python threads, since kernels release the GIL.

Numba's own parallel loops depend on a threading layer that may abort on concurrent calls or
after a fork. Here concurrent calls share the pool, a forked child makes its own, and work that
one thread does in a few microseconds never leaves the caller's.
"""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from .placement import Placement
from .team import close_to_newcomers, new_board, was_disturbed

SMALL = 200_000  # multiplications and additions; below, waking a thread costs more than it saves
STEP_WORTH_SHARING = 20_000  # multiplications in a step: less costs less than to meet
LOOP_WORTH_SHARING = 2_000_000  # in all steps: less is done before other threads have come
REST = 0.002  # seconds for which no team forms, once others have wanted the cores
LONGEST_REST = 0.1  # it doubles each time that they still do
ALONE = new_board(1)  # for teams of one: nothing ever changes on it


def _available_cores():
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_lock = threading.Lock()
_count = _available_cores()
_pool, _placement = None, Placement()
_rest, _rest_until = REST, 0.0
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
    global _count, _pool, _placement
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValueError(f"n: expected an integer of at least 1, got {n!r}")
    with _lock:
        _count, _pool, _placement = n, None, Placement()


def _forget_pool():
    global _pool, _lock, _placement
    _pool, _lock, _placement = None, threading.Lock(), Placement()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def _at_hand():
    return 1 if getattr(_here, "alone", False) else _count


def shares(work):
    """Over how many threads to spread `work` operations."""
    return 1 if work < SMALL else _at_hand()


def team_size(steps, multiplications, meetings):
    """How many threads should share the hidden units of a time loop; `multiplications` a step."""
    if steps * multiplications < LOOP_WORTH_SHARING or time.monotonic() < _rest_until:
        return 1
    return max(1, min(_at_hand(), multiplications // (STEP_WORTH_SHARING * meetings)))


def _submit(function, calls):
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(
                max(1, _count - 1), thread_name_prefix="gpurnn", initializer=_placement.register
            )
        _placement.avoid_this_core()
        # Submitted under the lock: a pool that is replaced meanwhile takes no more work.
        return [_pool.submit(function, *arguments) for arguments in calls]


def run_parallel(function, calls):
    """Call `function` with each tuple of arguments in `calls`, the first in this thread."""
    if len(calls) == 1:
        function(*calls[0])
        return
    others = _submit(function, calls[1:])
    try:
        function(*calls[0])
    finally:
        for other in others:
            other.result()


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


def run_team(function, members, arguments):
    """Call `function` in up to `members` threads that work together, with a board between them.

    Its first arguments are whether it leads, and the board; see `team`. The leader does not
    need the others: those that have not begun when it is done never will.
    """
    if members == 1:
        function(True, ALONE, *arguments)
        return
    board = new_board(members)
    others = _submit(function, [(False, board, *arguments)] * (members - 1))
    try:
        function(True, board, *arguments)
    finally:
        close_to_newcomers(board)
        for other in others:
            if not other.cancel():
                other.result()
        global _rest, _rest_until
        if was_disturbed(board):
            _rest_until = time.monotonic() + _rest
            _rest = min(2 * _rest, LONGEST_REST)
        else:
            _rest = REST


def split(total, parts):
    """Bounds [(first, last), ...] of `total` things in at most `parts` nearly equal parts."""
    parts = max(1, min(parts, total))
    bounds = [total * i // parts for i in range(parts + 1)]
    return list(zip(bounds, bounds[1:]))
