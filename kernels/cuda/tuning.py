"""Schedules timed on the user's device, once a shape, and remembered on disk.

What is timed is a layer of random numbers of the same shape, forward and, for training, back;
its inputs have one number, since the inputs' product is the same for all schedules. Steps are
rounded up to a power of two, lest each length of a varying batch be timed anew, and are at most
`MOST_STEPS`: what more of them take is known then.
"""

import json
from dataclasses import asdict, dataclass
from typing import NamedTuple

import cupy
import numpy as np

from ..cache import load_bytes, save_bytes
from ..specialise import text_of_cell
from .device import COMPILER
from .plans import Plan

MOST_STEPS = 128
ROUNDS = 5
WARM_UP = 3
"""Calls before the timed ones: a loop is recorded at its second call, and replayed at its third."""


class Problem(NamedTuple):
    """What a schedule is chosen for; `cell` a Cell, `hidden` the units of each of the `heads`,
    `dtype` a NumPy dtype."""

    cell: object
    hidden: int
    batch: int
    steps: int
    dtype: np.dtype
    keep: bool
    directions: int
    heads: int
    layers: int

    def rounded(self):
        """The problem that stands for this one."""
        return self._replace(steps=min(1 << (self.steps - 1).bit_length(), MOST_STEPS))


@dataclass(frozen=True)
class Outcome:
    """What was quickest, as `plans.choose` has it, and the seconds of all, by description."""

    plans: tuple | None
    seconds: dict


def describe(plans, layers=1):
    """A candidate for so many layers in a few words."""
    if plans is None:
        return "stepwise" if layers == 1 else "one layer after the other"
    at_once = f"{plans[0].layers} layers at once, " if layers > 1 else ""
    return f"persistent {at_once}" + " and ".join(
        f"{plan.blocks} × {plan.groups} × {plan.directions * plan.heads * plan.layers} blocks, "
        f"tiles of {plan.tile_rows}, {plan.parts} parts"
        for plan in plans
        if plan
    )


def _key(problem, device):
    _, *numbers = problem.rounded()
    cell = text_of_cell(problem.cell)
    return f"tuned {COMPILER} {device.name} {device.capability} {device.tf32} {numbers} {cell}"


def remembered(problem, device):
    """The `Outcome` of a problem on a device, of this process or another, or None."""
    data = load_bytes("cuda", _key(problem, device))
    try:
        found = json.loads(data or "null")
        plans = found and found["plans"] and [plan and Plan(**plan) for plan in found["plans"]]
        return found and Outcome(plans and tuple(plans), found["seconds"])
    except (ValueError, TypeError, KeyError):  # a damaged file
        return None


def tune(problem, candidates, device, run):
    """Time run(plans) for all candidates, remember and return the `Outcome`."""
    seconds = [seconds_of(lambda plans=plans: run(plans)) for plans in candidates]
    best = candidates[int(np.argmin(seconds))]
    names = [describe(plans, problem.layers) for plans in candidates]
    outcome = Outcome(best, dict(zip(names, seconds)))
    plans = best and [plan and asdict(plan) for plan in best]
    text = json.dumps({"plans": plans, "seconds": outcome.seconds})
    save_bytes("cuda", _key(problem, device), text.encode())
    return outcome


def seconds_of(call):
    """The median of a few calls' times on the current stream."""
    for _ in range(WARM_UP):
        call()
    return float(np.median([seconds_on_device(call) for _ in range(ROUNDS)]))


def seconds_on_device(call):
    """How long the device works on a call."""
    start, end = cupy.cuda.Event(), cupy.cuda.Event()
    start.record()
    call()
    end.record()
    end.synchronize()
    return 1e-3 * cupy.cuda.get_elapsed_time(start, end)
