"""The cell's functions over some hidden units of some sequences, once the products are there.

Layouts (all C-contiguous; H' is H rounded up to whole vectors, so that no inner loop has a tail):
- history (S, slots, B, H'): the states before and after each step. Slot t is the state before
  step t, t + 1 the one after, of a reverse direction the other way round. Training keeps all
  T + 1 slots; inference uses two in turn.
- tape (T, B, R, H'): what the cell saves for its backward function.
- gated (T, B, H'): of two-phase cells, what takes the hidden state's place in the late product.
- kept (rows, K, H'): of two-phase cells, what the late phase needs of the early one.
- extras: the cell's extras as triples, see `extras`.
- products of a row with the weights (and so packed weights): vector by vector of hidden units,
  and of each vector the gates one after the other. So the cell finds the gates of its units
  side by side, and a few panels hold all that it needs of them.

The passes share their arguments: the units `begin` to `end`; how many sequences, and in `rows`
which; the step t, and the history's slots `before` and `after` it; the products, of the units
from `begin` on, with the inputs, those of sequence r from xg[x_start + r x_stride] on, and with
the hidden states, from hg[hg_offsets[r]] on.
"""

from functools import cache

from ..signatures import forward_of, gate_of
from ..specialise import specialise
from .compiling import inlined
from .extras import gather_extras
from .functions import REPLACEMENTS
from .simd import lanes_of, store, store_part
from .tuples import gather, scatter
from .views import flattened


def _compiled(function):
    return specialise(function, REPLACEMENTS, inlined)


@cache
def _put_results(cell, lanes):
    """A function that writes what one step of the cell gave for one vector of hidden units."""
    put_states, saves, output = scatter(cell.states), scatter(cell.saved), cell.output

    @inlined
    def put(values, saved, states, at, plane, y, y_at, tape, tape_at, padded, left, keep):
        put_states(states, at, plane, values)
        if left >= lanes:
            store(y, y_at, values[output])
        else:
            store_part(y, y_at, values[output], left)
        if keep:
            saves(tape, tape_at, padded, saved)

    return put


@cache
def cell_pass(cell, dtype):
    """From the products of all gates (two-phase: of the late ones) to the new states."""
    lanes = lanes_of(dtype)
    put, seen = _put_results(cell, lanes), cell.late or cell.gates
    all_gates, early_count, saved_count, kept_count = (
        cell.gates, cell.gates - seen, cell.saved, cell.kept,
    )  # fmt: skip
    gates, states, kept_values = gather(seen), gather(cell.states), gather(cell.kept)
    function, extra = _compiled(forward_of(cell)), gather_extras(cell.extras, lanes)

    @inlined
    def run(
        begin, end, count, rows, t, before, after, xg, x_start, x_stride, hg, hg_offsets, hidden,
        extras, history, y, y_offset, y_stride, tape, kept, keep,
    ):  # fmt: skip
        slots, batch, padded = history.shape[1:]
        plane = slots * batch * padded
        states_flat, tape_flat = flattened(history), flattened(tape)
        for r in range(count):
            at, x_at = t * batch + rows[r], x_start + r * x_stride + early_count * lanes
            old, new = (before * batch + rows[r]) * padded, (after * batch + rows[r]) * padded
            for j in range(begin, end, lanes):
                values, saved = function(
                    gates(xg, x_at + (j - begin) * all_gates, lanes),
                    gates(hg, hg_offsets[r] + (j - begin) * seen, lanes),
                    states(states_flat, old + j, plane),
                    kept_values(kept, r * kept_count * padded + j, padded),
                    extra(extras, t, rows[r], j, hidden),
                )
                put(
                    values, saved, states_flat, new + j, plane, y, y_offset + at * y_stride + j,
                    tape_flat, at * saved_count * padded + j, padded, hidden - j, keep,
                )  # fmt: skip

    return run


@cache
def gate_pass(cell, dtype):
    """Of a two-phase cell: from the products of the early gates to `gated` and `kept`."""
    lanes, gate = lanes_of(dtype), _compiled(gate_of(cell))
    all_gates, seen, kept_count = cell.gates, cell.gates - cell.late, cell.kept
    gates, states, keeps = gather(seen), gather(cell.states), scatter(cell.kept)
    extra = gather_extras(cell.extras, lanes)

    @inlined
    def run(
        begin, end, count, rows, t, before, xg, x_start, x_stride, hg, hg_offsets, hidden, extras,
        history, gated, gated_row, kept,
    ):  # fmt: skip
        slots, batch, padded = history.shape[1:]
        plane = slots * batch * padded
        states_flat, gated_flat = flattened(history), flattened(gated)
        for r in range(count):
            x_at, old = x_start + r * x_stride, (before * batch + rows[r]) * padded
            for j in range(begin, end, lanes):
                value, carry = gate(
                    gates(xg, x_at + (j - begin) * all_gates, lanes),
                    gates(hg, hg_offsets[r] + (j - begin) * seen, lanes),
                    states(states_flat, old + j, plane),
                    extra(extras, t, rows[r], j, hidden),
                )
                store(gated_flat, (gated_row + rows[r]) * padded + j, value)
                keeps(kept, r * kept_count * padded + j, padded, carry)

    return run
