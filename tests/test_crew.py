"""Workers that take up calls without the GIL."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest

import gpurnn
from gpurnn.kernels.cpu import threads
from gpurnn.kernels.cpu.team import hand_in, join, take_piece, team_kernel
from gpurnn.kernels.cpu.waiting import LINE, count_up, read, wait

PATIENCE = 1 << 23  # looks: seconds
_, MEMBERS, DONE = 0, LINE, 2 * LINE


# Kernels are kept on disk by these names.
VERSION = Path(__file__).stat().st_mtime_ns


@team_kernel(f"count_members {VERSION}")
def count_members(leads, crew, board, counts, wanted, patience):
    """Each member counts once; the leader waits until as many have as are wanted."""
    if leads:
        looks = 0
        count_up(counts, MEMBERS)
        while read(counts, MEMBERS) < wanted and looks < patience:
            wait(looks)
            looks += 1
    else:
        count_up(counts, MEMBERS)
        join(board, leads)  # till the leader closes the team
        count_up(counts, DONE)


@team_kernel(f"take_pieces {VERSION}")
def take_pieces(leads, crew, board, taken):
    while True:
        piece = take_piece(crew, board, leads, taken.size)
        if piece < 0:
            return
        taken[piece] += 1
        hand_in(board)


@pytest.fixture
def count():
    """Run a team of up to so many; how many have come."""
    kept = gpurnn.get_num_threads()
    gpurnn.set_num_threads(3)
    for _ in range(2):  # so that both workers are there, and what they run is compiled
        threads.run_parallel(time.sleep, [(0.01,)] * 3)

    def run(members, wanted, wakes=True, patience=PATIENCE):
        counts = np.zeros(3 * LINE, np.int64)
        threads.run_team(count_members, members, wakes, (counts, wanted, patience))
        assert counts[DONE] == counts[MEMBERS] - 1, "a follower was left behind"
        return counts[MEMBERS]

    yield run
    gpurnn.set_num_threads(kept)


@pytest.mark.parametrize("members", [1, 2, 3])
@pytest.mark.parametrize("pause", [0, 0.01], ids=["looking", "asleep"])
def test_all_who_may_follow_come(count, members, pause):
    for _ in range(5):
        assert count(members, members) == members
        time.sleep(pause)


def wait_until(reached):
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_short_loop_wakes_nobody(count):
    count(3, 3)
    crew = threads._hired().crew
    wait_until(lambda: (crew[::LINE] == 0).all())  # all sleep
    assert count(3, 2, wakes=False, patience=3000) == 1
    assert (crew[::LINE] == 0).all()


def test_a_call_that_nobody_takes_up_is_never_made(count):
    count(3, 3)
    gate, workers = threading.Event(), threads._hired()
    busy = workers.give(gate.wait, [(60,), (60,)])
    try:
        assert len(busy) == 2
        wait_until(lambda: (workers.crew[::LINE] == 0).all())
        assert count(3, 2, patience=3000) == 1
    finally:
        gate.set()
        for call in busy:
            call.finish()
    assert count(3, 3) == 3


def test_each_piece_is_taken_once(count):
    for _ in range(50):
        taken = np.zeros(1000, np.int64)
        threads.run_team(take_pieces, 3, True, (taken,))
        assert (taken == 1).all()


def test_teams_of_many_leaders(count):
    """They share the workers; everybody's loop ends, and every follower's."""
    counts = []

    def lead():
        for _ in range(50):
            counts.append(count(3, 1))

    leaders = [threading.Thread(target=lead) for _ in range(6)]
    for leader in leaders:
        leader.start()
    for leader in leaders:
        leader.join(60)
    assert len(counts) == 300 and set(counts) <= {1, 2, 3}


def test_workers_are_dismissed_while_they_follow(count):
    """Whoever leads keeps them till the end."""
    counts = np.zeros(3 * LINE, np.int64)
    leader = threading.Thread(
        target=threads.run_team, args=(count_members, 3, True, (counts, 1 << 60, PATIENCE // 8))
    )
    leader.start()
    wait_until(lambda: counts[MEMBERS] == 3 or not leader.is_alive())
    gpurnn.set_num_threads(2)
    leader.join(60)
    assert not leader.is_alive() and counts[DONE] == 2
