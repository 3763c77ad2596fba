"""Threads that work on one time loop together: each step's hidden units are shared among them.

The calling thread leads: it begins at once and alone. The others are admitted, at a step's
beginning, when they have come; one that never comes is not missed, so that no number of busy
or missing threads can block the loop. Between steps the members meet. If a wait is so long that
others must be using that one's core, the leader sends the followers home and goes on alone.

Followers are workers that look for work (see `crew`): the leader's kernel calls them. What comes
before the loop is done in pieces, each by who comes first.

The members speak through an array of 64-bit integers (see `new_board`), with a cache line
for each.
"""

from inspect import signature

import numpy as np

from .compiling import inlined, kernel, part
from .crew import address_of_call, call_by_address, finish, post
from .waiting import FOREVER, LINE, count_up, look_for, looked_long, read, wait, write

_ARRIVED, _CLOSED, _TAKEN, _READY, _MEMBERS = (n * LINE for n in range(5))
# Of a member's line: the last meeting it has come to; the leader's also says how many share the
# next even and odd step; a follower's, one more than the step from which it takes part.
_MET, _SHARING, _FROM = 0, 1, 3
# Of these lines the leader, for itself, has: in the one after its own and each worker's number,
# that of the worker's call; in its own, how many it has called and may call, and what to call.
_CALL, _CALLED, _MOST, _FUNCTION, _FRAME = 8, 8, 9, 10, 11


def new_board(members, crew):
    """The integers through which up to `members` threads work together on one time loop: the leader
    and some of the crew."""
    board = np.zeros(_MEMBERS + LINE + crew.size, np.int64)
    board[_MEMBERS + _SHARING] = 1  # step 0 is the leader's alone
    board[_MEMBERS + _MOST] = members - 1
    return board


def team_kernel(identity):
    """Decorate a function (leads, crew, board, ...) that all members of a team call.

    What Python calls is the leader: (crew, board, ...), see `threads.run_team`.
    """

    def decorate(function):
        member = part(function)

        @inlined
        def lead(crew, board, arguments):
            function, frame = address_of_call(member, (crew, board, *arguments))
            board[_MEMBERS + _FUNCTION], board[_MEMBERS + _FRAME] = function, frame
            call_followers(crew, board, True)
            failed = call_by_address(function, frame, True)
            if read(board, _CLOSED) == 0:
                close(board, False)
            for worker in range(crew.size // LINE):
                finish(crew, worker, board[_MEMBERS + (1 + worker) * LINE + _CALL])
            if failed:
                raise MemoryError

        return kernel(identity)(_with_names(list(signature(function).parameters)[3:], lead))

    return decorate


def _with_names(names, lead):
    """The function (crew, board, *names) -> lead(crew, board, names).

    A starred argument would do, but Numba takes microseconds to find out the type of a tuple.
    """
    names = "".join(f"{name}, " for name in names)
    made = {"lead": lead, "__name__": __name__}  # a module, or other processes could not load it
    exec(f"def team(crew, board, {names}): lead(crew, board, ({names}))", made)
    return made["team"]


@inlined
def call_followers(crew, board, wanted):
    """By the leader, if others are `wanted`: call workers that are free, as many as may follow."""
    for worker in range(crew.size // LINE if wanted else 0):
        if board[_MEMBERS + _CALLED] >= board[_MEMBERS + _MOST]:
            return
        place = _MEMBERS + (1 + worker) * LINE + _CALL
        if board[place] == 0:
            number = post(crew, worker, board[_MEMBERS + _FUNCTION], board[_MEMBERS + _FRAME])
            if number > 0:
                board[place] = number
                board[_MEMBERS + _CALLED] += 1


@inlined
def take_piece(crew, board, leads, pieces):
    """The number of a piece of work that nobody has taken; -1 if there is none left."""
    call_followers(crew, board, leads)
    piece = count_up(board, _TAKEN) - 1
    return np.intp(piece) if piece < pieces else np.intp(-1)


@inlined
def hand_in(board):
    """Tell that the piece taken last is done."""
    count_up(board, _READY)


@inlined
def await_pieces(board, pieces):
    """Return when all are done."""
    look_for(board, _READY, pieces, FOREVER)


@inlined
def join(board, leads):
    """Become a member: returns the member's number, and the first step in which it takes part.

    A follower for whom there is no step left gets -1 for its first step.
    """
    if leads:
        return np.intp(0), np.intp(0)
    member = np.intp(count_up(board, _ARRIVED))
    line, spins = _MEMBERS + member * LINE, 0
    while True:
        first = np.intp(read(board, line + _FROM))
        if first > 0:
            return member, first - 1
        if read(board, _CLOSED) > 0:
            return member, np.intp(-1)
        wait(spins)
        spins += 1


@inlined
def members_of(board, step):
    """How many members share this step; the same for all of them, and only these go on."""
    return np.intp(read(board, _MEMBERS + _SHARING + step % 2))


@inlined
def admit(crew, board, step, before, members, disturbed):
    """By the leader, in this step of `members`, `before` of whom shared the last one.

    Lets the new ones begin, and those who have come meanwhile share the next step. If the team was
    `disturbed` nobody will share that; and once nobody is left to begin, nobody else need come.
    """
    for new in range(before, members):
        write(board, _MEMBERS + new * LINE + _FROM, step + 1)
    call_followers(crew, board, not disturbed)
    following = 1 if disturbed else 1 + read(board, _ARRIVED)
    place = _MEMBERS + _SHARING + (step + 1) % 2
    if board[place] != following:  # else nobody need fetch this line anew
        write(board, place, following)
    if disturbed and members == 1:
        close(board, disturbed)


@inlined
def meet(board, member, members, number):
    """Wait until all members have come to meeting `number`; numbers only grow.

    Returns whether the wait was so long that someone's core must be in use by others.
    """
    write(board, _MEMBERS + member * LINE + _MET, number)
    long = False
    for other in range(members):
        long = looked_long(board, _MEMBERS + other * LINE + _MET, number) or long
    return long


@inlined
def close(board, disturbed):
    """By the leader, at the end or when the team was disturbed: nobody else need begin."""
    write(board, _CLOSED, 2 if disturbed else 1)


def was_disturbed(board):
    """Whether the leader sent the others home."""
    return board[_CLOSED] == 2


def all_came(board):
    """Whether as many have followed as may."""
    return board[_ARRIVED] == board[_MEMBERS + _MOST]
