"""Which schedule runs a recurrent layer on the current device, and how it may be chosen."""

from functools import cache, lru_cache

import cupy
import numpy as np

from .persistent import backward_kernel, fits_together, forward_kernel
from .plans import Device, choose, persistent_seconds, stepwise_seconds

SCHEDULES = ("auto", "stepwise", "persistent")

# Multiplications a cycle and multiprocessor in float32 and float64, from the table of
# arithmetic throughput in NVIDIA's CUDA C++ Programming Guide.
_MULTIPLICATIONS = {
    (7, 0): (64, 32),
    (7, 5): (64, 2),
    (8, 0): (64, 32),
    (9, 0): (128, 64),
    (10, 0): (128, 64),
}
_MULTIPLICATIONS_OF_OTHERS = (128, 2)

_OLDEST = (7, 0)
"""Older devices have no acquire and release."""


@cache
def device_here(number):
    """The facts about the device of a number."""
    device = cupy.cuda.Device(number)
    attributes, digits = device.attributes, device.compute_capability
    capability = (int(digits[:-1]), int(digits[-1]))
    name = cupy.cuda.runtime.getDeviceProperties(number)["name"].decode()
    return Device(
        name=name,
        capability=capability,
        multiprocessors=attributes["MultiProcessorCount"],
        shared_bytes=attributes["MaxSharedMemoryPerBlockOptin"],
        gigahertz=(attributes.get("ClockRate") or 1.5e6) / 1e6,
        multiplications=_MULTIPLICATIONS.get(capability, _MULTIPLICATIONS_OF_OTHERS),
        cooperative=bool(attributes["CooperativeLaunch"]) and capability >= _OLDEST,
    )


_wanted = "auto"


def schedule(name=None):
    """Which of `SCHEDULES` runs recurrent layers; with a name, from now on that one."""
    global _wanted
    if name is not None:
        if name not in SCHEDULES:
            raise ValueError(f"schedule: expected one of {SCHEDULES}, got {name!r}")
        _wanted = name
    return _wanted


def plans_here(cell, hidden, batch, steps, dtype, keep, directions=1):
    """(forward plan, backward plan) of the persistent schedule; None stands for the stepwise.

    Without `keep` the second is None; see `choose`. RuntimeError if "persistent" is wanted and
    cannot be.
    """
    number = cupy.cuda.runtime.getDevice()
    plans = _plans(cell, hidden, batch, steps, dtype, bool(keep), _wanted, number, directions)
    if _wanted == "persistent" and plans is None:
        raise RuntimeError(
            f"the persistent schedule cannot run {cell.name} with hidden size {hidden} and batch "
            f"{batch} in {dtype} on {device_here(number).name}"
        )
    return plans


@lru_cache(maxsize=4096)
def _plans(cell, hidden, batch, steps, dtype, keep, wanted, number, directions):
    device = device_here(number)
    plans = choose(cell, hidden, batch, steps, dtype, keep, wanted, device, directions)
    for make, plan in zip((forward_kernel, backward_kernel), plans or ()):
        if plan and not fits_together(make(cell, plan.tile_rows, dtype), plan, device):
            return None
    return plans


def explain(cell, hidden, batch, steps, dtype, keep):
    """What is chosen on the current device, and the model's reasons; compiles nothing."""
    device = device_here(cupy.cuda.runtime.getDevice())
    dtype = np.dtype(dtype)
    plans = choose(cell, hidden, batch, steps, dtype, bool(keep), _wanted, device)
    stepwise = stepwise_seconds(cell.gates, hidden, batch, dtype, steps, device)
    if plans is None:
        return f"stepwise ({1e6 * stepwise / steps:.1f} µs a step by the model)"
    plan = plans[0]
    return (
        f"persistent on {plan.blocks} × {plan.groups} blocks with "
        f"{plan.shared_bytes / 1024:.0f} KiB each "
        f"({1e6 * persistent_seconds(plan, steps, device) / steps:.1f} µs a step by the model, "
        f"stepwise {1e6 * stepwise / steps:.1f})"
    )
