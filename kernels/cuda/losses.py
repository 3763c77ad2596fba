"""Loss functions with their gradients, fused."""

import math
from functools import cache

import cupy
import numpy as np

from .device import INTEGER, INTEGERS, cuda, floats, working
from .launching import Kernel

WARP, WARPS = 32, 4  # a warp has a row of logits


@cache
def softmax_kernel(dtype):
    """The kernel of `softmax_cross_entropy`."""

    def run(rows, classes, logits, targets, ignored, counted, dlogits, losses):
        row = cuda.blockIdx.x * WARPS + cuda.threadIdx.y
        lane, first = cuda.threadIdx.x, row * classes
        if row >= rows:
            return
        target = targets[row]
        nothing = type(logits[first])(0)
        if target == ignored:
            for k in range(lane, classes, WARP):
                dlogits[first + k] = nothing
            if lane == 0:
                losses[row] = nothing
            return
        largest = logits[first]
        for k in range(lane, classes, WARP):
            largest = max(largest, logits[first + k])
        offset = WARP // 2
        while offset:
            largest = max(largest, cuda.shfl_xor_sync(0xFFFFFFFF, largest, offset))
            offset //= 2
        total = nothing
        for k in range(lane, classes, WARP):
            total += math.exp(logits[first + k] - largest)
        offset = WARP // 2
        while offset:
            total += cuda.shfl_xor_sync(0xFFFFFFFF, total, offset)
            offset //= 2
        scale = type(total)(1) / type(total)(counted[0])
        for k in range(lane, classes, WARP):
            share = math.exp(logits[first + k] - largest) / total
            dlogits[first + k] = scale * (share - type(total)(1) if k == target else share)
        if lane == 0:
            # An unknown class gives NaN: to refuse it would mean to wait for the device.
            loss = nothing / nothing
            if 0 <= target and target < classes:
                loss = math.log(total) + largest - logits[first + target]
            losses[row] = loss

    f, s, i = floats(dtype), floats(working(dtype)), INTEGER
    return Kernel(f"softmax_cross_entropy {dtype}", run, (i, i, f, INTEGERS, i, INTEGERS, f, s))


def softmax_cross_entropy(logits, targets, ignored):
    """logits (N, V), targets (N,) -> mean loss (0-d), dlogits. NaN if all targets are ignored.

    The loss of logits of 16 bits is a float32.
    """
    rows, classes = logits.shape
    targets = targets.astype(np.int64, copy=False)
    counted = (targets != ignored).sum()
    dlogits, losses = cupy.empty_like(logits), cupy.empty(rows, working(logits.dtype))
    softmax_kernel(logits.dtype)(
        (-(-rows // WARPS), 1, 1), (WARP, WARPS, 1),
        rows, classes, logits, targets, ignored, counted, dlogits, losses,
    )  # fmt: skip
    return (losses.sum(dtype=np.float64) / counted).astype(losses.dtype), dlogits
