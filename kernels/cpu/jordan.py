"""The time loop of a Jordan network, forward and backward, of the sequences that a thread has.

- hidden (T, B, H) holds the inputs' products first, then the hidden units' values.
- context (T + 1, B, O): context[t] is what step t sees; y (T, B, O) the outputs.
- Each thread has some sequences, `rows`, by falling length; `counts` (T,) of them reach step t.
"""

from functools import cache

import numpy as np

from .activations import row_activation, row_gradient
from .compiling import kernel
from .linear import packed_weight
from .product import multiply_panels
from .threads import run_parallel, shares
from .views import flattened


@cache
def _forward(nonlinearity, output, dtype):
    activate_hidden, activate_output = (row_activation(f, dtype) for f in (nonlinearity, output))

    @kernel(f"jordan_forward {nonlinearity} {output} {dtype}")
    def forward(rows, counts, by_context, by_hidden, decay, hidden, context, y):
        (steps, batch, units), outputs = hidden.shape, y.shape[2]
        hidden_flat, context_flat, y_flat = flattened(hidden), flattened(context), flattened(y)
        hidden_at, output_at = np.empty(rows.size, np.intp), np.empty(rows.size, np.intp)
        for t in range(steps):
            count = counts[t]
            for r in range(count):
                at = t * batch + rows[r]
                hidden_at[r], output_at[r] = at * units, at * outputs
            multiply_panels(
                context_flat, output_at, count, np.intp(1), outputs, by_context,
                hidden_flat, hidden_at, units, np.bool_(True),
            )  # fmt: skip
            for r in range(count):
                activate_hidden(hidden_flat, hidden_at[r], units)
            multiply_panels(
                hidden_flat, hidden_at, count, np.intp(1), units, by_hidden,
                y_flat, output_at, outputs, np.bool_(False),
            )  # fmt: skip
            for r in range(count):
                at = output_at[r]
                activate_output(y_flat, at, outputs)
                for o in range(at, at + outputs):
                    context_flat[o + batch * outputs] = decay * context_flat[o] + y_flat[o]

    return forward


@cache
def _backward(nonlinearity, output, dtype):
    through_hidden, through_output = (row_gradient(f, dtype) for f in (nonlinearity, output))

    @kernel(f"jordan_backward {nonlinearity} {output} {dtype}")
    def backward(rows, counts, to_hidden, to_context, decay, hidden, y, doutput, dhidden, carry):
        (steps, batch, units), outputs = hidden.shape, y.shape[2]
        hidden_flat, y_flat = flattened(hidden), flattened(y)
        dh_flat, do_flat, carry_flat = flattened(dhidden), flattened(doutput), flattened(carry)
        hidden_at, output_at = np.empty(rows.size, np.intp), np.empty(rows.size, np.intp)
        carry_at = rows * outputs
        for t in range(steps - 1, -1, -1):
            count = counts[t]
            for r in range(count):
                at = t * batch + rows[r]
                hidden_at[r], output_at[r] = at * units, at * outputs
                for o in range(outputs):
                    do_flat[output_at[r] + o] += carry_flat[carry_at[r] + o]
                    carry_flat[carry_at[r] + o] *= decay
                through_output(do_flat, output_at[r], y_flat, output_at[r], outputs)
            multiply_panels(
                do_flat, output_at, count, np.intp(1), outputs, to_hidden,
                dh_flat, hidden_at, units, np.bool_(False),
            )  # fmt: skip
            for r in range(count):
                through_hidden(dh_flat, hidden_at[r], hidden_flat, hidden_at[r], units)
            multiply_panels(
                dh_flat, hidden_at, count, np.intp(1), units, to_context,
                carry_flat, carry_at, outputs, np.bool_(True),
            )  # fmt: skip

    return backward


def _shares(lengths, hidden, y):
    """For each thread its sequences by falling length, and how many of them reach each step."""
    steps, batch, units = hidden.shape
    threads = min(batch, shares(4 * hidden.size * y.shape[2]))
    if lengths is None:
        lengths = np.full(batch, steps)
    order = np.argsort(-lengths, kind="stable")
    parts = [np.ascontiguousarray(order[first::threads]) for first in range(threads)]
    return [(p, (lengths[p] > np.arange(steps)[:, None]).sum(1)) for p in parts]


def jordan_forward(kinds, weight_ch, weight, bias, decay, lengths, hidden, context, y):
    """Fill y (T, B, O) and context[1:]; turn `hidden` from the inputs' products into values.

    kinds: activations of the hidden units and the outputs; weight_ch (H, O), weight (O, H), bias
    (O,) or None; decay: a number; lengths (B,) or None. Nothing is written past a sequence's end.
    """
    panels = packed_weight(weight_ch, True), packed_weight(weight, True, bias)
    decay = y.dtype.type(decay)
    run_parallel(
        _forward(*kinds, y.dtype),
        [(*share, *panels, decay, hidden, context, y) for share in _shares(lengths, hidden, y)],
    )


def jordan_backward(kinds, weight_ch, weight, decay, lengths, hidden, y, doutput, dhidden, carry):
    """Back through the steps.

    doutput (T, B, O) comes in as the gradient by y and leaves as that by the outputs' sums;
    dhidden (T, B, H) is written likewise; carry (B, O) comes in as the gradient by the last
    context and leaves as that by the first.
    """
    panels = packed_weight(weight, False), packed_weight(weight_ch, False)
    decay = y.dtype.type(decay)
    run_parallel(
        _backward(*kinds, y.dtype),
        [
            (*share, *panels, decay, hidden, y, doutput, dhidden, carry)
            for share in _shares(lengths, hidden, y)
        ],
    )
