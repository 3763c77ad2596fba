"""Both directions of a layer, or several layers, in one launch.

Each one's call makes its arguments ready and comes to its launch. Within `run_together` the first
wait there for the last: their calls go on as if they had been launched, and do not look at what
the kernel writes; what must come `after` the launch is kept until then.
"""

import threading
from dataclasses import dataclass, field


@dataclass
class _Group:
    """What is run together: how many, the launches that wait, and what comes after them."""

    size: int
    waiting: list = field(default_factory=list)
    followers: list = field(default_factory=list)


class _Here(threading.local):
    group = _Group(1)


_here = _Here()


def together_here():
    """How many launches may become one where this is called."""
    return _here.group.size


def run_together(function, numbers):
    """[function(number), ...] of directions or layers, whose launches become one."""
    if len(numbers) == 1:
        return [function(numbers[0])]
    outer, group = _here.group, _Group(len(numbers))
    _here.group = group
    try:
        results = [function(number) for number in numbers]
    finally:
        _here.group = outer
    for follow in group.followers:
        follow()
    return results


def launch(launch_parts, own, parts, arrays):
    """launch_parts([own]), or where so many `parts` meet launch_parts([first, ..., own]).

    `arrays` are what `own` has the addresses of; they live until the launch.
    """
    group = _here.group
    if parts == 1 or group.size == 1:
        launch_parts([own])
        return
    group.waiting.append((own, arrays))
    if len(group.waiting) == parts:
        launch_parts([own for own, _ in group.waiting])
        group.waiting.clear()


def after(follow):
    """follow() when all that has come to its launch before is launched."""
    if _here.group.size == 1:
        follow()
    else:
        _here.group.followers.append(follow)
