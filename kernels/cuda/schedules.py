"""Which schedule runs a recurrent layer on the current device, and how it may be chosen."""

import threading
from contextlib import contextmanager
from functools import cache, lru_cache

import cupy
import numpy as np

from .choosing import candidates, choose
from .persistent import backward_kernel, fits_together, forward_kernel
from .plans import Device, persistent_seconds, stepwise_seconds
from .tuning import Problem, describe, remembered, tune

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


def device_here(number):
    """The facts about the device of a number."""
    return _device(number, _tf32)


@cache
def _device(number, tf32):
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
        tf32=tf32,
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


_autotuned = False


def autotune(on=None):
    """Whether schedules are timed where "auto" has no time of a shape yet; with `on`, set it."""
    global _autotuned
    if on is not None:
        _autotuned = bool(on)
    return _autotuned


def times_products():
    """Whether products of unknown shapes are to be timed here: not those of a trial's layer."""
    return _autotuned and not _forced.plans


_tf32 = False


def allow_tf32(on=None):
    """Whether products of float32 may round their factors to tf32; with `on`, set it."""
    global _tf32
    if on is not None and _tf32 != bool(on):
        _tf32 = bool(on)
        _plans.cache_clear()
        _ensure_timed.cache_clear()
    return _tf32


class _Forced(threading.local):
    plans = ()  # or (plans,)


_forced = _Forced()


@contextmanager
def forced(plans):
    """Let `plans_here` return these plans in this thread."""
    _forced.plans = (plans,)
    try:
        yield
    finally:
        _forced.plans = ()


def plans_here(cell, hidden, batch, steps, dtype, keep, directions=1, heads=1, layers=1):
    """(forward plan, backward plan) of the persistent schedule; None stands for the stepwise, or
    for one of the `layers` after the other.

    Without `keep` the second is None; see `choose`. RuntimeError if "persistent" is wanted of one
    layer and cannot be.
    """
    if _forced.plans:
        return _forced.plans[0]
    number = cupy.cuda.runtime.getDevice()
    problem = Problem(cell, hidden, batch, steps, dtype, bool(keep), directions, heads, layers)
    if _autotuned and _wanted == "auto" and not cupy.cuda.get_current_stream().is_capturing():
        _ensure_timed(problem.rounded(), number)
    plans = _plans(problem, _wanted, number)
    if _wanted == "persistent" and plans is None and layers == 1:
        raise RuntimeError(
            f"the persistent schedule cannot run {cell.name} with hidden size {heads * hidden}, "
            f"num_heads {heads} and batch {batch} in {dtype} on {device_here(number).name}"
        )
    return plans


@lru_cache(maxsize=4096)
def _plans(problem, wanted, number):
    device = device_here(number)
    timed = remembered(problem, device) if wanted == "auto" else None
    if timed:
        return timed.plans
    *sizes, directions, heads, layers = problem
    plans = choose(*sizes, wanted, device, directions, heads, layers)
    return plans if _fit(problem.cell, problem.dtype, plans, device) else None


def _fit(cell, dtype, plans, device):
    """Whether plans' blocks run at once."""
    kernels = zip((forward_kernel, backward_kernel), plans or ())
    return all(
        fits_together(make(cell, plan.tile_rows, dtype, plan.layers), plan, device)
        for make, plan in kernels
        if plan
    )


@lru_cache(maxsize=4096)
def _ensure_timed(problem, number):
    """Time the schedules of a problem unless that has been done."""
    from .trial import LayersTrial, Trial

    device = device_here(number)
    if remembered(problem, device) is None:
        *sizes, directions, heads, layers = problem
        if layers > 1:  # which may run one by one, as is quickest for one
            _ensure_timed(problem._replace(layers=1), number)
        found = [
            plans
            for plans in candidates(*sizes, device, directions, heads, layers)
            if _fit(problem.cell, problem.dtype, plans, device)
        ]
        tune(problem, found, device, (LayersTrial if layers > 1 else Trial)(problem))
        _plans.cache_clear()


def explain(cell, hidden, batch, steps, dtype, keep, heads, layers):
    """What is chosen on the current device, and why; compiles nothing."""
    device = device_here(cupy.cuda.runtime.getDevice())
    problem = Problem(cell, hidden, batch, steps, np.dtype(dtype), bool(keep), 1, heads, layers)
    timed = remembered(problem, device) if _wanted == "auto" else None
    if timed:
        times = ", ".join(f"{name} {1e6 * t:.1f} µs" for name, t in timed.seconds.items())
        return f"{describe(timed.plans, layers)} (timed, {problem.rounded().steps} steps: {times})"
    *sizes, directions, _, _ = problem
    plans = choose(*sizes, _wanted, device, directions, heads, layers)
    if plans is None and layers > 1:
        return f"one by one, each {explain(cell, hidden, batch, steps, dtype, keep, heads, 1)}"
    stepwise = stepwise_seconds(cell.gates, hidden, batch, problem.dtype, steps, device, heads)
    if plans is None:
        return f"stepwise ({1e6 * stepwise / steps:.1f} µs a step by the model)"
    plan = plans[0]
    seconds = persistent_seconds(plan, steps, device)
    at_once = f"{plan.layers} layers at once, " if layers > 1 else ""
    return (
        f"{at_once}persistent on {plan.blocks} × {plan.groups * plan.heads * plan.layers} blocks "
        f"with {plan.shared_bytes / 1024:.0f} KiB each "
        f"({1e6 * seconds / steps:.1f} µs a step by the model, "
        f"stepwise {1e6 * plan.layers * stepwise / steps:.1f})"
    )
