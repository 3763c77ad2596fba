"""A cell's functions as schedules call them: with every argument, and with every result.

A cell is written with what it has a use for (see `gpurnn.cells.Cell`). So that each schedule is
one text for all cells, what a cell does without is an empty tuple here; compiled, it is nothing.
"""


def forward_of(cell):
    """(x, h, state, kept, extra) -> new, saved."""
    function = cell.forward
    if cell.late and cell.extras:
        return function
    if cell.late:

        def forward(x, h, state, kept, extra):
            return function(x, h, state, kept)
    elif cell.extras:

        def forward(x, h, state, kept, extra):
            return function(x, h, state, extra)
    else:

        def forward(x, h, state, kept, extra):
            return function(x, h, state)

    return forward


def backward_of(cell):
    """(saved, state, new, dnew, extra) -> dx, dh, dstate, dweights.

    Of a two-phase cell `dx` is of the late gates, and `carried` takes the place of `dh`.
    """
    function = cell.backward
    if cell.weights:
        return function
    if cell.extras:

        def backward(saved, state, new, dnew, extra):
            dx, dh, dstate = function(saved, state, new, dnew, extra)
            return dx, dh, dstate, ()
    else:

        def backward(saved, state, new, dnew, extra):
            dx, dh, dstate = function(saved, state, new, dnew)
            return dx, dh, dstate, ()

    return backward


def gate_of(cell):
    """(x, h, state, extra) -> gated, kept."""
    function = cell.gate
    if cell.extras:
        return function

    def gate(x, h, state, extra):
        return function(x, h, state)

    return gate


def gate_backward_of(cell):
    """(saved, state, carried, dgated, extra) -> da, dstate."""
    function = cell.gate_backward
    if cell.extras:
        return function

    def gate_backward(saved, state, carried, dgated, extra):
        return function(saved, state, carried, dgated)

    return gate_backward


def written(cell, forward, backward, gate, gate_backward):
    """The fields of a `Cell` with extras whose functions have all arguments and results.

    The reverse of the above; `gate` and `gate_backward` are None for a one-phase cell, and
    `backward` gives no more of a two-phase cell than of one without weights.
    """
    if not cell.late:
        function = forward

        def forward(x, h, state, extra):
            return function(x, h, state, (), extra)

    if not cell.weights:
        all_gradients = backward

        def backward(saved, state, new, dnew, extra):
            dx, dh, dstate, _ = all_gradients(saved, state, new, dnew, extra)
            return dx, dh, dstate

    return {
        "forward": forward,
        "backward": backward,
        "gate": gate,
        "gate_backward": gate_backward,
    }
