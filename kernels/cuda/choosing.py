"""Which schedule is faster, by the model of `plans`, and what is worth timing."""

from .plans import persistent_plan, persistent_seconds, ranked_plans, stepwise_seconds

MOST_LAYERS = 4
"""That run in one launch."""


def persistent_plans(
    cell, hidden, batch, steps, dtype, keep, device, directions=1, heads=1, layers=1
):
    """(forward plan, backward plan or, without `keep`, None), or None if it cannot be."""
    if not _can_be_persistent(cell, layers):
        return None
    plans = [
        persistent_plan(
            cell.gates, hidden, batch, dtype, device, backward, cell.late, directions, heads, layers
        )
        for backward in (False, True)[: 1 + keep]
    ]
    if any(plan is None or not _counts(cell, steps, plan) for plan in plans):
        return None
    return (*plans, None)[:2]


def _can_be_persistent(cell, layers):
    """A normalised cell's hidden units are not by themselves; two phases have kernels of one
    layer."""
    return not (cell.normalised or layers > 1 and cell.late)


def _counts(cell, steps, plan):
    """Whether a barrier's counter holds all the arrivals of a plan's sequence."""
    return steps * (2 if cell.late else 1) * plan.blocks < 2**32


def _together(directions, layers):
    """The numbers of directions and layers that one launch may have."""
    if layers > 1:
        return [(1, n) for n in range(2, min(layers, MOST_LAYERS) + 1)]
    return [(n, 1) for n in sorted({directions, 1})]


def candidates(cell, hidden, batch, steps, dtype, keep, device, directions=1, heads=1, layers=1):
    """All that is worth timing, as `choose` returns it: None, and a few plans."""
    found = [None]
    if not _can_be_persistent(cell, layers):
        return found
    for together in _together(directions, layers):
        ways = [
            ranked_plans(
                cell.gates, hidden, batch, dtype, device, way, cell.late, together[0], heads,
                together[1],
            )
            for way in (False, True)[: 1 + keep]
        ]  # fmt: skip
        for plans in zip(*ways):
            if all(_counts(cell, steps, plan) for plan in plans):
                found.append((*plans, None)[:2])
    return found


def choose(
    cell, hidden, batch, steps, dtype, keep, wanted, device, directions=1, heads=1, layers=1
):
    """(forward plan, backward plan) of the persistent schedule; None stands for the stepwise.

    The second is None without `keep`. `wanted`: "stepwise", "persistent" (if it can be) or
    "auto" (if it can be and the model expects it to be faster). Two `directions` are run by one
    launch, or one after the other by plans of one direction. `hidden` are the units of each head.

    For more than one of `layers` the plans are for as many at once as are fastest; what is left
    over, and all of them if it is None, run one by one, as is chosen for one.
    """
    if wanted == "stepwise":
        return None
    sizes = cell, hidden, batch, steps, dtype, keep
    one = choose(*sizes, wanted, device, directions, heads) if layers > 1 else None
    alone = _seconds(one, sizes, device, heads)
    best, least = None, alone * directions * layers
    if wanted == "persistent" and layers == 1:
        least = float("inf")
    for together in _together(directions, layers):
        plans = persistent_plans(*sizes, device, together[0], heads, together[1])
        if plans:
            launch = _seconds(plans, sizes, device, heads)
            seconds = seconds_of_launches(
                directions * layers, together[0] * together[1], launch, alone
            )
            if seconds <= least:
                best, least = plans, seconds
    return best


def seconds_of_launches(count, at_once, launch, alone):
    """Of so many directions or layers, of which a launch has some; the rest run alone."""
    launches, rest = divmod(count, at_once)
    return launches * launch + rest * alone


def _seconds(plans, sizes, device, heads):
    """Modelled time of a launch, or without plans of a stepwise direction, forward and, where the
    sizes say so, back."""
    cell, hidden, batch, steps, dtype, keep = sizes
    if plans:
        return sum(persistent_seconds(plan, steps, device) for plan in plans if plan)
    stepwise = stepwise_seconds(cell.gates, hidden, batch, dtype, steps, device, heads)
    return (1 + keep) * stepwise
