"""Both directions of a layer in one launch.

Each direction's call makes its arguments ready and comes to its launch. Within `run_together`
the first waits there for the other: its call goes on as if it had been launched, and does not
look at what the kernel writes; what must come `after` the launch is kept until then.
"""

import threading
from dataclasses import dataclass, field


@dataclass
class _Group:
    """Directions that are run together: the launches that wait, and what comes after them."""

    directions: int
    waiting: list = field(default_factory=list)
    followers: list = field(default_factory=list)


class _Here(threading.local):
    group = _Group(1)


_here = _Here()


def directions_here():
    """How many directions' launches may become one where this is called."""
    return _here.group.directions


def run_together(function, directions):
    """[function(direction), ...] of one or two directions, whose launches become one."""
    if len(directions) == 1:
        return [function(directions[0])]
    outer, group = _here.group, _Group(len(directions))
    _here.group = group
    try:
        results = [function(direction) for direction in directions]
    finally:
        _here.group = outer
    for follow in group.followers:
        follow()
    return results


def launch(launch_directions, own, directions, arrays):
    """launch_directions([own]), or where two `directions` meet launch_directions([first, own]).

    `arrays` are what `own` has the addresses of; they live until the launch.
    """
    group = _here.group
    if directions == 1 or group.directions == 1:
        launch_directions([own])
        return
    group.waiting.append((own, arrays))
    if len(group.waiting) == directions:
        launch_directions([own for own, _ in group.waiting])
        group.waiting.clear()


def after(follow):
    """follow() when all that has come to its launch before is launched."""
    if _here.group.directions == 1:
        follow()
    else:
        _here.group.followers.append(follow)
