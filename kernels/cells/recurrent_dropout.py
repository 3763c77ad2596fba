"""Dropout of the hidden state on its way into the recurrent product, the same units at all steps.
Y. Gal and Z. Ghahramani, "A theoretically grounded application of dropout in recurrent neural
networks", 2016.

The cell itself goes on with its whole states; what the product sees is a state of its own, h m.
"""

from dataclasses import replace
from functools import cache

from ..mathematics import zero
from ..signatures import backward_of, forward_of, gate_backward_of, gate_of, written


@cache
def recurrent_dropout(cell):
    """The cell with one state more, the first: state 0 of `cell` times m, the last of the masks."""
    inner_forward, inner_backward = forward_of(cell), backward_of(cell)
    masks = cell.extras

    def forward(x, h, state, kept, extra):
        new, saved = inner_forward(x, h, state[1:], kept, extra[:masks])
        return (new[0] * extra[masks],) + new, saved

    def backward(saved, state, new, dnew, extra):
        by_seen = dnew[0] * extra[masks]
        dx, dh, dstate, dweights = inner_backward(
            saved, state[1:], new[1:], (dnew[1] + by_seen,) + dnew[2:], extra[:masks]
        )
        return dx, dh, (zero(by_seen),) + dstate, dweights

    gate, gate_backward = None, None
    if cell.late:
        inner_gate, inner_gate_backward = gate_of(cell), gate_backward_of(cell)

        def gate(x, h, state, extra):
            gated, kept = inner_gate(x, h, state[1:], extra[:masks])
            return gated * extra[masks], kept

        def gate_backward(saved, state, carried, dgated, extra):
            dgated = dgated * extra[masks]
            da, dstate = inner_gate_backward(saved, state[1:], carried, dgated, extra[:masks])
            return da, (zero(dgated),) + dstate

    return replace(
        cell,
        name=f"{cell.name}_recurrent_dropout",
        states=cell.states + 1,
        masks=cell.masks + 1,
        output=cell.output + 1,
        **written(cell, forward, backward, gate, gate_backward),
    )
