"""Loss functions: the loss and its gradient in one call."""

import numpy as np

from .. import cuda
from ..arrays import FLOATS, HALVES, adopt, check_array, device_of, kernels_of, module_of
from ..kernels import loss_maps


def check_floats(a, name, halves=False):
    """`a` as a contiguous array of float32 or float64, not empty; TypeError, ValueError.

    `halves`: on CUDA float16 and bfloat16 are taken too.
    """
    a = adopt(a, name)
    if a.dtype not in FLOATS and not (halves and device_of(a) == "cuda" and a.dtype.name in HALVES):
        raise TypeError(f"{name}: expected float32 or float64, got {a.dtype}")
    if a.dtype.name == "bfloat16":
        cuda.check_bfloat16()
    if a.size == 0:
        raise ValueError(f"{name}: expected at least one number, got shape {a.shape}")
    return module_of(device_of(a)).ascontiguousarray(a)


def softmax_cross_entropy(logits, targets, ignore_index=-100):
    """Mean of -log softmax(logits)[target] over the targets that are not ignored.

    Parameters
    ----------
    logits : array (..., V), float32 or float64; on CUDA also float16 or bfloat16
    targets : array (...), integers from 0 to V - 1, or `ignore_index`
    ignore_index : int

    Returns
    -------
    loss : 0-d array in nats, of the logits' dtype and device (float32 for 16 bits); NaN if all
        targets are ignored
    dlogits : array (..., V), the gradient of `loss`; zero where targets are ignored

    Raises
    ------
    TypeError, ValueError
        If dtypes, devices or shapes do not fit, or a target is out of range (on CUDA finding
        that out would mean to wait for the device: there the loss is NaN).
    """
    logits = check_floats(logits, "logits", halves=True)
    if logits.ndim < 1:
        raise ValueError("logits: expected (..., V), got ()")
    device, classes = device_of(logits), logits.shape[-1]
    targets = check_array(targets, "targets", device, None, logits.shape[:-1])
    if device == "cpu":
        wrong = (targets != ignore_index) & ((targets < 0) | (targets >= classes))
        if wrong.any():
            raise ValueError(
                f"targets: expected 0 to {classes - 1} or {ignore_index}, got {targets[wrong][0]}"
            )
    loss, dlogits = kernels_of(device).softmax_cross_entropy(
        logits.reshape(-1, classes), targets.reshape(-1), ignore_index
    )
    return loss, dlogits.reshape(logits.shape)


def _mean_of_map(function, factor, prediction, target, names):
    prediction = check_floats(prediction, names[0])
    device = device_of(prediction)
    target = check_array(target, names[1], device, prediction.dtype, prediction.shape)
    xp = module_of(device)
    losses, gradient = xp.empty_like(prediction), xp.empty_like(prediction)
    kernels_of(device).apply_map(
        function, (losses, gradient, prediction, target), (factor / prediction.size,)
    )
    return losses.mean(dtype=np.float64).astype(prediction.dtype), gradient


def mean_squared_error(prediction, target):
    """Mean of (prediction - target)² over all numbers.

    Both are arrays of one shape, dtype (float32 or float64) and device. Returns the loss, a 0-d
    array, and its gradient by the prediction. Raises TypeError or ValueError if they do not fit.
    """
    return _mean_of_map(loss_maps.squared_error, 2, prediction, target, ("prediction", "target"))


def sigmoid_cross_entropy(logits, targets):
    """Mean of -t log p - (1 - t) log(1 - p) over all numbers, with p = sigmoid(logit).

    Both are arrays of one shape, dtype (float32 or float64) and device, the targets t from 0
    to 1. Returns the loss, a 0-d array, and its gradient by the logits. Raises TypeError or
    ValueError if they do not fit.
    """
    return _mean_of_map(loss_maps.sigmoid_cross_entropy, 1, logits, targets, ("logits", "targets"))
