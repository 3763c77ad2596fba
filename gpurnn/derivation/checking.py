"""Whether a cell's ways fit: its gradients against differences of its way forward."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from ..arrays import check_rng, check_size
from ..cells import Cell, TreeCell
from .agreement import check_derivatives, check_layer, numbers_of, refuse_literals, results_of
from .checking_trees import check_tree_cell

_SIZES = (3, 2, 2, 3)  # steps, sequences, inputs and units of the layer that is tried


@dataclass(frozen=True)
class CellCheck:
    """What `check_cell` found right: at how many points, the largest error of a derivative
    (relative where it is above 1), and on which devices a layer of the cell was tried."""

    name: str
    points: int
    largest_error: float
    devices: tuple[str, ...]

    def __str__(self):
        return (
            f"{self.name}: derivatives right within {self.largest_error:.1e} at {self.points} "
            f"points; layers right on: {', '.join(self.devices) or 'none tried'}"
        )


def check_cell(cell, *, points=64, devices=None, rng=0):
    """Check that a `Cell` is what it says, and that its gradients are those of its way forward.

    In float64, at random points: the derivative of each new state (and of what a two-phase cell
    gates) by each gate, state and weight (or what a `TreeCell` sees of a child) against central
    differences; the numbers of results; purity. Then that no literal number would turn float32
    into float64 on CUDA. Then that a small layer of the cell compiles and its gradients agree
    with differences of the whole layer (but not of a cell with masks of its own, of which there
    are no layers).

    Parameters
    ----------
    cell : Cell or TreeCell
    points : int, how many
    devices : None, or some of "cpu" and "cuda"
        Where to try a layer, which compiles kernels; None stands for all there are.
    rng : None, int or numpy.random.Generator

    Returns
    -------
    CellCheck, which prints as a line

    Raises
    ------
    TypeError
        If `cell` is neither, a function no function of so many arguments, or a formula has a
        literal number or does what no kernel can: says where, and what to write.
    ValueError
        If a count or a derivative is wrong: says which.
    """
    if not isinstance(cell, Cell | TreeCell):
        raise TypeError(f"cell: expected a Cell or a TreeCell, got {type(cell).__name__}")
    points, rng = check_size(points, "points"), check_rng(rng)
    if devices is None:
        from .. import cuda

        devices = ("cpu", "cuda") if cuda.is_available() else ("cpu",)
    if isinstance(cell, TreeCell):
        error = check_tree_cell(cell, points, devices, rng)
    else:
        devices = () if cell.masks else devices
        error = _check(cell, points, devices, rng)
    return CellCheck(cell.name, points, error, tuple(devices))


def _check(cell, points, devices, rng):
    """The largest error."""
    from ..layers import Recurrent

    refuse_literals(_formulas(cell))
    names = [f"new[{i}]" for i in range(cell.states)] + ["gated"]
    forward, backward = partial(_forward, cell), partial(_backward, cell)
    error = check_derivatives(_counts(cell), names, forward, backward, points, rng)
    steps, batch, inputs, hidden = _SIZES
    for device in devices:
        layer = Recurrent(cell, inputs, hidden, dtype="float64", device=device, rng=rng)
        check_layer(layer, rng.standard_normal((steps, batch, inputs)), (), rng)
    return error


def _counts(cell):
    """How many numbers each group of a cell's inputs has."""
    early = cell.gates - cell.late if cell.late else 0
    late = cell.gates - early
    return {
        "early x": early, "early h": early, "x": late, "h": late, "state": cell.states,
        "extra": cell.extras,
    }  # fmt: skip


def _extra(cell, inputs):
    """The last argument of a cell with extras, in a tuple; () of one without."""
    return (inputs["extra"],) if cell.extras else ()


def _formulas(cell):
    """What each function is called, and of how many numbers its arguments are; see `agreement`."""
    counts = _counts(cell)
    late, states, saved = counts["x"], cell.states, cell.saved
    early, extra = counts["early x"], (cell.extras,) if cell.extras else ()
    kept = (cell.kept,) if cell.late else ()
    formulas = [
        ("forward", cell.forward, (late, late, states, *kept, *extra)),
        ("backward", cell.backward, (saved, states, states, states, *extra)),
    ]
    if cell.late:
        formulas += [
            ("gate", cell.gate, (early, early, states, *extra)),
            ("gate_backward", cell.gate_backward, (saved, states, cell.carried, None, *extra)),
        ]
    return formulas


def _forward(cell, inputs):
    """(new states and what is gated, saved) of both phases."""
    state, extra, kept, gated = inputs["state"], _extra(cell, inputs), (), ()
    if cell.late:
        result = cell.gate(inputs["early x"], inputs["early h"], state, *extra)
        if not isinstance(result, tuple) or len(result) != 2:
            raise ValueError(f"gate: expected (gated, kept), got {result!r}")
        gated = (np.broadcast_to(result[0], state[0].shape),)
        kept = (numbers_of(result[1], cell.kept, "gate: kept", state[0]),)
    new, saved = results_of(
        cell.forward(inputs["x"], inputs["h"], state, *kept, *extra),
        {"new": cell.states, "saved": cell.saved}, "forward", state[0],
    )  # fmt: skip
    return new + gated, saved


def _backward(cell, inputs, outputs, saved, seeds):
    """The gradients of the sum of seeds * outputs, by group of inputs."""
    state, extra = inputs["state"], _extra(cell, inputs)
    new, dnew = outputs[: cell.states], seeds[: cell.states]
    result = cell.backward(saved, state, new, dnew, *extra)
    if cell.late:
        counts = {"da": cell.late, "carried": cell.carried, "dstate": cell.states}
        late_da, carried, dstate = results_of(result, counts, "backward", state[0])
        counts = {"da": cell.gates - cell.late, "dstate": cell.states}
        result = cell.gate_backward(saved, state, carried, seeds[-1], *extra)
        da, more = results_of(result, counts, "gate_backward", state[0])
        dstate = tuple(a + b for a, b in zip(dstate, more))
        return {"early x": da, "early h": da, "x": late_da, "h": late_da, "state": dstate}
    counts = {"dx": cell.gates, "dh": cell.gates, "dstate": cell.states}
    if cell.weights:
        counts["dweights"] = len(cell.weights)
    dx, dh, dstate, *dweights = results_of(result, counts, "backward", state[0])
    if not cell.apart and any((a != b).any() for a, b in zip(dx, dh)):
        raise ValueError("apart: expected True of a cell whose dx and dh differ")
    return {"x": dx, "h": dh, "state": dstate, "extra": dweights[0] if dweights else ()}
