"""Both directions of a layer in one launch.

Each direction's call makes its arguments ready and comes to its launch. Within `run_together`
the first waits there for the other: its call goes on as if it had been launched, and does not
look at what the kernel writes; what must come `after` the launch is kept until then.
"""

import threading


class _Here(threading.local):
    directions, owns, held, followers = 1, (), (), ()


_here = _Here()


def directions_here():
    """How many directions' launches may become one where this is called."""
    return _here.directions


def run_together(function, directions):
    """[function(direction), ...] of one or two directions, whose launches become one."""
    directions = list(directions)
    _here.directions, _here.owns, _here.held, _here.followers = len(directions), [], [], []
    try:
        results = [function(direction) for direction in directions]
        for follow in _here.followers:
            follow()
    finally:
        _here.directions, _here.owns, _here.held, _here.followers = 1, (), (), ()
    return results


def launch(launch_directions, own, directions, arrays):
    """launch_directions([own]), or where two `directions` meet launch_directions([first, own]).

    `arrays` are what `own` has the addresses of; they live until the launch.
    """
    if directions == 1 or _here.directions == 1:
        launch_directions([own])
        return
    _here.owns.append(own)
    _here.held.append(arrays)
    if len(_here.owns) == directions:
        launch_directions(_here.owns)
        _here.owns, _here.held = [], []


def after(follow):
    """follow() when all that has come to its launch before is launched."""
    if _here.directions == 1:
        follow()
    else:
        _here.followers.append(follow)
