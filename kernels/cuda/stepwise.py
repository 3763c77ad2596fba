"""The stepwise schedule: each step is one fused kernel, or two for a two-phase cell.

Between the first launch and the last nothing is allocated, read back or waited for, and the
launches get addresses, no arrays; a loop that comes again is one graph (see `graphs`). What the
arrays hold is told in `forward` and `backward`; `ends` is the address of the sequences' lengths.
"""

from . import graphs
from .backward import backward_step, gate_backward_step, last_backward_step, late_backward_step
from .extras import as_arguments
from .forward import forward_step, gate_step, late_step
from .tiles import BLOCK, grid


def rows(a, count, column=0):
    """Pointers to so many equal parts of a C-contiguous array, each from a column on.

    Of None, null pointers.
    """
    if a is None:
        return [0] * count
    return [a.data.ptr + column * a.itemsize + i * (a.nbytes // count) for i in range(count)]


def address(a):
    return 0 if a is None else a.data.ptr


def run_forward(
    cell, scratch, w_hh, extras, biases, xg, history, reverse, y, column, saved, gated, kept, norm
):
    """All steps; writes history, `y` and, unless `saved` is None, what a tape keeps of them.

    `gated` (T or 1, B, H) and `kept` are a two-phase cell's, else None; `norm` is a normalised
    cell's `HiddenNorm`, else None.
    """
    arrays = (w_hh, *biases, xg, history, y, saved, gated, kept)
    how = (scratch.ends, reverse, column)
    more = as_arguments(extras)
    sizes = (xg.shape, y.shape, w_hh.shape)
    key = (cell, *sizes, xg.dtype, *how, *more, *map(address, arrays), *_key(norm))
    graphs.run(key, lambda: _launch_forward(cell, *arrays, norm, more, *how))


def _key(norm):
    return norm.key if norm else ()


def _launch_forward(
    cell, w_hh, b_ih, b_hh, xg, history, y, saved, gated, kept, norm, extras, ends, reverse, column
):  # fmt: skip
    (steps, batch), hidden, dtype = y.shape[:2], w_hh.shape[1], xg.dtype
    heads = len(w_hh) // (cell.gates * hidden)
    slots, plane = history.shape[1], history[0].size
    slot = rows(history[0], slots)
    keep, kept_steps = saved is not None, 1 if saved is None else steps
    saved_rows, gated_rows = rows(saved, kept_steps), rows(gated, kept_steps)
    xg_rows, y_rows, y_stride = rows(xg, steps), rows(y, steps, column), y.shape[2]
    blocks, early = grid(hidden, batch, heads), (cell.gates - cell.late) * heads * hidden
    late = [address(a[early:]) for a in (b_ih, b_hh, w_hh)]
    b_ih, b_hh, w_hh, kept = map(address, (b_ih, b_hh, w_hh, kept))
    step = (late_step if cell.late else forward_step)(cell, dtype)
    gate = gate_step(cell, dtype) if cell.late else None
    for t in reversed(range(steps)) if reverse else range(steps):
        before, after = (t + 1, t) if reverse else (t, t + 1)
        old, new, kept_step = slot[before % slots], slot[after % slots], t if keep else 0
        lead, norms = (t, ends, batch, hidden, xg_rows[t]), ()
        if norm:
            norms = norm.multiply(history.dtype, t, old, w_hh)
        tail = (old, new, plane, y_rows[t], y_stride, saved_rows[kept_step], int(keep))
        if cell.late:
            q = gated_rows[kept_step]
            gate(
                blocks, BLOCK, t, batch, hidden, xg_rows[t], b_ih, b_hh, w_hh, *norms, *extras, old,
                plane, q, kept,
            )  # fmt: skip
            if norm:
                norms = norm.multiply(dtype, t, q, late[-1], phase=1)
            step(blocks, BLOCK, *lead, *late, *norms, *extras, q, kept, *tail)
        else:
            step(blocks, BLOCK, *lead, b_ih, b_hh, w_hh, *norms, *extras, old, hidden, *tail)


def run_backward(
    cell, scratch, w_hh, extras, history, saved, reverse, dy, column, carry, dxg, dhg, dweights,
    carried, norm, dproducts, by_gain,
):  # fmt: skip
    """All steps back; writes dxg, dhg and, unless it is None, dweights, and turns `carry` into
    the gradient by the initial state. `carried` is a two-phase cell's, else None.

    Of a normalised cell `norm` is its `HiddenNorm`; what goes through the products is written to
    `dproducts`, and dhg times the normals to `by_gain`. Else these are None, dhg and None.
    """
    arrays = (w_hh, history, saved, dy, carry, dxg, dhg, dweights, carried, dproducts, by_gain)
    how, more = (scratch.ends, reverse, column), as_arguments(extras)
    key = ("back", cell, dxg.shape, dxg.dtype, dy.shape, w_hh.shape, *how, *more)
    key += (*map(address, arrays),)
    graphs.run((*key, *_key(norm)), lambda: _launch_backward(cell, *arrays, norm, more, *how))


def _launch_backward(
    cell, w_hh, history, saved, dy, carry, dxg, dhg, dweights, carried, dproducts, by_gain, norm,
    extras, ends, reverse, column,
):  # fmt: skip
    (steps, batch), hidden, dtype = dy.shape[:2], w_hh.shape[1], dxg.dtype
    heads = len(w_hh) // (cell.gates * hidden)
    plane, carry_plane = history[0].size, carry[0].size
    slot, saved_rows = rows(history[0], steps + 1), rows(saved, steps)
    dxg_rows, dhg_rows, dweights_rows = (rows(a, steps) for a in (dxg, dhg, dweights))
    through_rows, gain_rows = (rows(a, steps) for a in (dproducts, by_gain))
    dy_rows, dy_stride = rows(dy, steps, column), dy.shape[2]
    pitch, depth = cell.gates * hidden, (cell.gates - cell.late) * hidden
    blocks, w_late = grid(hidden, batch, heads), address(w_hh[depth:])
    w_hh, carry, carried = map(address, (w_hh, carry, carried))
    step = (late_backward_step if cell.late else backward_step)(cell, dtype)
    gate = gate_backward_step(cell, dtype) if cell.late else None
    later = None
    for t in range(steps) if reverse else reversed(range(steps)):
        before, after = (t + 1, t) if reverse else (t, t + 1)
        old, new, dh = slot[before], slot[after], through_rows[t if later is None else later]
        to_products = (ends, t, 1, dhg_rows[t], through_rows[t], gain_rows[t])
        step(
            blocks, BLOCK, t, ends, batch, hidden, dh, pitch, 0 if later is None else depth, w_hh,
            *extras, dy_rows[t], dy_stride, old, new, plane, saved_rows[t], carry, carry_plane,
            dxg_rows[t], *([carried] if cell.late else [dhg_rows[t], dweights_rows[t]]),
        )  # fmt: skip
        if cell.late:
            if norm:
                norm.back(*to_products, phase=1)
            gate(
                blocks, BLOCK, t, ends, batch, hidden, through_rows[t], w_late, *extras, old, plane,
                saved_rows[t], carry, carry_plane, dxg_rows[t], carried,
            )  # fmt: skip
        if norm:
            norm.back(*to_products)
        later = t
    last = last_backward_step(dtype)
    last(blocks, BLOCK, batch, hidden, through_rows[later], pitch, depth, w_hh, carry)
