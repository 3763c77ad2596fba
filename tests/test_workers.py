"""The pool of threads: every call is made once, nobody waits in vain, nothing is kept."""

import gc
import threading
import time
import weakref

import numpy as np
import pytest

from gpurnn.kernels.cpu.workers import Workers


def finish(calls):
    for call in calls:
        call.finish()


def wait_until_idle(workers):
    while len(workers._idle) < 2:
        time.sleep(0.001)


@pytest.fixture
def workers():
    """Two, who have come already."""
    made = Workers(2)
    finish(made.give(time.sleep, [(0,), (0,)]))
    wait_until_idle(made)
    yield made
    made.dismiss()


def test_each_call_is_made_once_by_a_worker_or_by_who_waits(workers):
    made, given, here = [], [], threading.get_ident()

    def make(*arguments):
        made.append((arguments, threading.get_ident()))

    for i in range(300):
        wanted = [(i, 0), (i, 1)]
        calls = workers.give(make, wanted)
        given += wanted[: len(calls)]
        if i % 3 == 0:
            time.sleep(0.001)  # the workers sleep too, or have made the call meanwhile
        finish(calls)
    assert sorted(arguments for arguments, _ in made) == given
    wait_until_idle(workers)
    calls = workers.give(make, [(300, 0)])
    while len(made) == len(given):  # nobody else makes it
        time.sleep(0.001)
    finish(calls)
    last, thread = made[-1]
    assert len(made) == len(given) + 1 and last == (300, 0) and thread != here


def test_no_more_calls_are_taken_than_there_are_free_workers(workers):
    gate = threading.Event()
    first = workers.give(gate.wait, [(60,)])
    second = workers.give(lambda: None, [(), (), ()])
    assert len(second) == 1
    finish(second)
    gate.set()
    finish(first)


def test_an_error_reaches_who_waits_and_the_worker_goes_on(workers):
    def fail(number):
        time.sleep(0.01)
        raise ValueError(f"number {number}")

    for number in range(3):
        wait_until_idle(workers)
        (call,) = workers.give(fail, [(number,)])
        time.sleep(0.005 * number)
        with pytest.raises(ValueError, match=f"number {number}"):
            call.finish()


def test_an_idle_worker_keeps_no_array_alive(workers):
    array = np.zeros(10)
    gone = weakref.ref(array)
    (call,) = workers.give(lambda a: time.sleep(0.01), [(array,)])
    time.sleep(0.005)
    finish([call])
    del array, call
    deadline = time.monotonic() + 10
    while gone() is not None and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.001)
    assert gone() is None


def test_dismissed_workers_end_idle_or_busy():
    before = set(threading.enumerate())
    workers, gate = Workers(2), threading.Event()
    (busy,) = workers.give(gate.wait, [(60,)])
    time.sleep(0.01)
    (idle,) = workers.give(time.sleep, [(0.005,)])
    idle.finish()
    ours = set(threading.enumerate()) - before
    assert len(ours) == 2
    workers.dismiss()
    gate.set()
    busy.finish()
    for thread in ours:
        thread.join(10)
        assert not thread.is_alive()


def test_many_callers_at_once(workers):
    counts = np.zeros(8, int)

    def add(i):
        counts[i] += 1

    def call_often(i):
        for _ in range(200):
            calls = workers.give(add, [(i,), (i,)])
            add(i)
            for _ in range(2 - len(calls)):
                add(i)
            finish(calls)

    callers = [threading.Thread(target=call_often, args=(i,)) for i in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert (counts == 600).all()
