"""Zoneout: units that now and then keep what they were. D. Krueger et al., "Zoneout: regularizing
RNNs by randomly preserving hidden activations", 2017.

    s_t = s_{t-1} + u (s~_t - s_{t-1})

s~_t is what the cell itself would make of its states; u is 0 where a unit keeps its state and 1
elsewhere, a mask drawn for every step. In inference u is its expectation.
"""

from dataclasses import replace
from functools import cache

from ..signatures import backward_of, forward_of, gate_backward_of, gate_of, written


def _kept_states(zoned):
    """A function (state, new, u) -> the states after zoneout, of which the first are `zoned`."""
    if zoned == 0:
        return lambda state, new, u: new
    others = _kept_states(zoned - 1)

    def kept_states(state, new, u):
        return (state[0] + u[0] * (new[0] - state[0]),) + others(state[1:], new[1:], u[1:])

    return kept_states


def _restored(zoned):
    """A function (inner, new) -> the states that the cell itself had made: the zoned ones' saved
    numbers `inner`, and the others as they are."""
    if zoned == 0:
        return lambda inner, new: new
    others = _restored(zoned - 1)

    def restored(inner, new):
        return (inner[0],) + others(inner[1:], new[1:])

    return restored


def _passed_on(zoned):
    """A function (dnew, u) -> the gradients by what the cell itself made."""
    if zoned == 0:
        return lambda dnew, u: dnew
    others = _passed_on(zoned - 1)

    def passed_on(dnew, u):
        return (u[0] * dnew[0],) + others(dnew[1:], u[1:])

    return passed_on


def _with_the_kept(zoned):
    """A function (dstate, dnew, u) -> the gradients by the states, those kept included."""
    if zoned == 0:
        return lambda dstate, dnew, u: dstate
    others = _with_the_kept(zoned - 1)

    def with_the_kept(dstate, dnew, u):
        first = dstate[0] + (dnew[0] - u[0] * dnew[0])
        return (first,) + others(dstate[1:], dnew[1:], u[1:])

    return with_the_kept


@cache
def zoneout(cell, zoned=1):
    """The cell with zoneout on its first `zoned` states; one mask u more for each."""
    inner_forward, inner_backward = forward_of(cell), backward_of(cell)
    kept_states, restored = _kept_states(zoned), _restored(zoned)
    passed_on, with_the_kept = _passed_on(zoned), _with_the_kept(zoned)
    masks, saved_count = cell.extras, cell.saved

    def forward(x, h, state, kept, extra):
        new, saved = inner_forward(x, h, state, kept, extra[:masks])
        return kept_states(state, new, extra[masks:]), saved + new[:zoned]

    def backward(saved, state, new, dnew, extra):
        u = extra[masks:]
        dx, dh, dstate, dweights = inner_backward(
            saved[:saved_count], state, restored(saved[saved_count:], new), passed_on(dnew, u),
            extra[:masks],
        )  # fmt: skip
        return dx, dh, with_the_kept(dstate, dnew, u), dweights

    gate, gate_backward = None, None
    if cell.late:
        inner_gate, inner_gate_backward = gate_of(cell), gate_backward_of(cell)

        def gate(x, h, state, extra):
            return inner_gate(x, h, state, extra[:masks])

        def gate_backward(saved, state, carried, dgated, extra):
            return inner_gate_backward(saved[:saved_count], state, carried, dgated, extra[:masks])

    return replace(
        cell,
        name=f"{cell.name}_zoneout",
        saved=cell.saved + zoned,
        masks=cell.masks + zoned,
        **written(cell, forward, backward, gate, gate_backward),
    )
