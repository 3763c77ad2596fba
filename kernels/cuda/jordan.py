"""The time loop of a Jordan network: all steps of a sequence in one block, in one launch.

Sequences know nothing of each other, so that a barrier of the block between the phases of a step
is all they need. Threads go over the hidden units, then over the outputs; the weights lie so
that neighbouring threads read neighbouring numbers.

- hidden (T, B, H) holds the inputs' products first, then the hidden units' values.
- context (T + 1, B, O): context[t] is what step t sees; y (T, B, O) the outputs.
"""

from functools import cache

import cupy
import numpy as np

from ..activations import MAPS
from ..specialise import specialise
from .device import ELEMENTS, INTEGER, INTEGERS, cuda, floats, inlined
from .functions import REPLACEMENTS, exp
from .launching import Kernel

THREADS = 128


def _map(kind, which):
    # The outputs' softmax is done apart: until then their sums stay as they are.
    return specialise(MAPS["identity" if kind == "softmax" else kind][which], REPLACEMENTS, inlined)


@cache
def forward_kernel(nonlinearity, output, dtype):
    """The kernel of the forward pass."""
    dtype = np.dtype(dtype)
    activate_hidden, activate_output = _map(nonlinearity, 0), _map(output, 0)
    softmax = output == "softmax"

    def forward(
        batch, units, outputs, lengths, context_to_hidden, hidden_to_output, bias, decay,
        hidden, context, y,
    ):  # fmt: skip
        b, thread = cuda.blockIdx.x, cuda.threadIdx.x
        for t in range(lengths[b]):
            row = t * batch + b
            hidden_at, at, after = row * units, row * outputs, (row + batch) * outputs
            for j in range(thread, units, THREADS):
                total = hidden[hidden_at + j]
                for o in range(outputs):
                    total += context[at + o] * context_to_hidden[o * units + j]
                hidden[hidden_at + j] = activate_hidden((total,), ())[0]
            cuda.syncthreads()
            for o in range(thread, outputs, THREADS):
                total = bias[o]
                for j in range(units):
                    total += hidden[hidden_at + j] * hidden_to_output[j * outputs + o]
                y[at + o] = activate_output((total,), ())[0]
            if softmax:
                cuda.syncthreads()
                highest = y[at]
                for o in range(1, outputs):
                    highest = max(highest, y[at + o])
                total = exp(y[at] - highest)
                for o in range(1, outputs):
                    total += exp(y[at + o] - highest)
                cuda.syncthreads()
                for o in range(thread, outputs, THREADS):
                    y[at + o] = exp(y[at + o] - highest) / total
            for o in range(thread, outputs, THREADS):
                context[after + o] = decay * context[at + o] + y[at + o]
            cuda.syncthreads()

    f, i, element = floats(dtype), INTEGER, ELEMENTS[dtype]
    types = (i, i, i, INTEGERS, f, f, f, element, f, f, f)
    return Kernel(f"jordan_forward {nonlinearity} {output} {dtype}", forward, types)


@cache
def backward_kernel(nonlinearity, output, dtype):
    """The kernel of the backward pass."""
    dtype = np.dtype(dtype)
    through_hidden, through_output = _map(nonlinearity, 1), _map(output, 1)
    softmax = output == "softmax"

    def backward(
        batch, units, outputs, lengths, output_to_hidden, hidden_to_context, decay, hidden, y,
        doutput, dhidden, carry,
    ):  # fmt: skip
        b, thread = cuda.blockIdx.x, cuda.threadIdx.x
        carry_at = b * outputs
        for t in range(lengths[b] - 1, -1, -1):
            row = t * batch + b
            hidden_at, at = row * units, row * outputs
            for o in range(thread, outputs, THREADS):
                d = doutput[at + o] + carry[carry_at + o]
                doutput[at + o] = through_output((d, y[at + o]), ())[0]
            cuda.syncthreads()
            if softmax:
                along = doutput[at] * y[at]
                for o in range(1, outputs):
                    along += doutput[at + o] * y[at + o]
                cuda.syncthreads()
                for o in range(thread, outputs, THREADS):
                    doutput[at + o] = y[at + o] * (doutput[at + o] - along)
                cuda.syncthreads()
            for j in range(thread, units, THREADS):
                total = doutput[at] * output_to_hidden[j]
                for o in range(1, outputs):
                    total += doutput[at + o] * output_to_hidden[o * units + j]
                dhidden[hidden_at + j] = through_hidden((total, hidden[hidden_at + j]), ())[0]
            cuda.syncthreads()
            for o in range(thread, outputs, THREADS):
                total = decay * carry[carry_at + o]
                for j in range(units):
                    total += dhidden[hidden_at + j] * hidden_to_context[j * outputs + o]
                carry[carry_at + o] = total

    f, i, element = floats(dtype), INTEGER, ELEMENTS[dtype]
    types = (i, i, i, INTEGERS, f, f, element, f, f, f, f, f)
    return Kernel(f"jordan_backward {nonlinearity} {output} {dtype}", backward, types)


def _ends(lengths, steps, batch):
    if lengths is None:
        return cupy.full(batch, steps, np.int64)
    return cupy.asarray(lengths, np.int64)


def jordan_forward(kinds, weight_ch, weight, bias, decay, lengths, hidden, context, y):
    """Fill y (T, B, O) and context[1:]; turn `hidden` from the inputs' products into values.

    kinds: activations of the hidden units and the outputs; weight_ch (H, O), weight (O, H), bias
    (O,) or None; decay: a number; lengths (B,) or None. Nothing is written past a sequence's end.
    """
    (steps, batch, units), outputs = hidden.shape, y.shape[2]
    transposed = [cupy.ascontiguousarray(w.T) for w in (weight_ch, weight)]
    start = cupy.zeros(outputs, y.dtype) if bias is None else bias
    forward_kernel(*kinds, y.dtype)(
        (batch, 1, 1), (THREADS, 1, 1), batch, units, outputs, _ends(lengths, steps, batch),
        *transposed, start, y.dtype.type(decay), hidden, context, y,
    )  # fmt: skip


def jordan_backward(kinds, weight_ch, weight, decay, lengths, hidden, y, doutput, dhidden, carry):
    """Back through the steps.

    doutput (T, B, O) comes in as the gradient by y and leaves as that by the outputs' sums;
    dhidden (T, B, H) is written likewise; carry (B, O) comes in as the gradient by the last
    context and leaves as that by the first.
    """
    (steps, batch, units), outputs = hidden.shape, y.shape[2]
    backward_kernel(*kinds, y.dtype)(
        (batch, 1, 1), (THREADS, 1, 1), batch, units, outputs, _ends(lengths, steps, batch),
        weight, weight_ch, y.dtype.type(decay), hidden, y, doutput, dhidden, carry,
    )  # fmt: skip
