"""Zoneout and recurrent dropout: the cells, and the masks that a layer gives them."""

from ..arrays import device_of, module_of
from ..kernels.cells.recurrent_dropout import recurrent_dropout as with_recurrent_dropout
from ..kernels.cells.zoneout import zoneout as with_zoneout


def check_share(share, name):
    """A number from 0 to below 1, as a float."""
    if not isinstance(share, (int, float)) or not 0 <= share < 1:
        raise ValueError(f"{name}: expected a number from 0 to below 1, got {share!r}")
    return float(share)


class UnitNoise:
    """What disturbs a layer's hidden units in training, for one cell.

    zoneout: a probability, or one for each of the cell's first states; recurrent_dropout: one.
    Raises ValueError if one is not from 0 to below 1, or there are more than states.

    `cell` is what runs in inference, `training_cell` in training; `zoneout` a tuple, empty where
    nothing is zoned.
    """

    def __init__(self, cell, zoneout, recurrent_dropout):
        rates = zoneout if isinstance(zoneout, (tuple, list)) else (zoneout,)
        if len(rates) > cell.states:
            raise ValueError(
                f"zoneout: expected a probability for each of {cell.states} states, got {zoneout!r}"
            )
        rates = tuple(check_share(rate, "zoneout") for rate in rates)
        self.zoneout = rates if any(rates) else ()
        self.recurrent_dropout = check_share(recurrent_dropout, "recurrent_dropout")
        self.cell = with_zoneout(cell, len(rates)) if self.zoneout else cell
        self.training_cell = (
            with_recurrent_dropout(self.cell) if self.recurrent_dropout else self.cell
        )
        self._expectations = {}
        self._made_of = cell, zoneout, recurrent_dropout

    def __reduce__(self):
        """The cells' functions are made of others, and cannot be pickled."""
        return UnitNoise, self._made_of

    def expectations(self, device, hidden, dtype):
        """The masks of inference, each (H,): how often a unit is updated."""
        if device not in self._expectations:
            xp = module_of(device)
            means = tuple(xp.full(hidden, 1 - rate, dtype) for rate in self.zoneout)
            self._expectations[device] = means
        return self._expectations[device]

    def masks(self, kernels, rng, shape, dtype):
        """The masks of training for `shape` (T, B, H), drawn anew: one seed each."""

        def draw(shape, rate, value):
            return kernels.random_mask(shape, rate, value, int(rng.integers(2**63)), dtype)

        drawn = [draw(shape if rate else shape[2:], rate, 1) for rate in self.zoneout]
        if self.recurrent_dropout:
            kept = 1 / (1 - self.recurrent_dropout)
            drawn.append(draw(shape[1:], self.recurrent_dropout, kept))
        return tuple(drawn)


class DroppedRecurrence:
    """The `Recurrence` of a cell with recurrent dropout, as if it were the cell's without.

    The masked hidden state that the product sees begins as a part of the first state, and
    nobody outside looks at it.
    """

    def __init__(self, recurrence):
        self._recurrence = recurrence

    def forward(self, weights, extras, x, state, lengths, reverse, y, column, keep):
        whole = None if state is None else _put_before(state[0] * extras[-1], state)
        final, tape = self._recurrence.forward(
            weights, extras, x, whole, lengths, reverse, y, column, keep
        )
        return final[1:], (tape, extras[-1])

    def backward(self, weights, tape, dy, column, dstate, grads, dx, resume):
        tape, mask = tape
        whole = None if dstate is None else _put_before(0, dstate)
        by_whole = self._recurrence.backward(weights, tape, dy, column, whole, grads, dx, resume)
        by_whole[1] += by_whole[0] * mask
        return by_whole[1:]


def _put_before(part, states):
    """States (S + 1, B, H), of which `part` is the first."""
    count, *shape = states.shape
    whole = module_of(device_of(states)).empty((count + 1, *shape), states.dtype)
    whole[0], whole[1:] = part, states
    return whole
