"""Whether a cell's ways fit: its gradients against differences of its way forward."""

from dataclasses import dataclass

import numpy as np

from ..arrays import check_rng, check_size, to_device, to_numpy
from ..cells import Cell
from .graph import Graph
from .symbols import Literals, Symbol
from .tracing import Trace

_STEP = 1e-5
_TOLERANCE = 1e-6  # of the differences: the square of the step, and rounding over the step
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
    gates) by each gate, state and weight against central differences; the numbers of results;
    purity. Then that no literal number would turn float32 into float64 on CUDA. Then that a small
    layer of the cell compiles and its gradients agree with differences of the whole layer (but
    not of a cell with masks of its own, of which there are no layers).

    Parameters
    ----------
    cell : Cell
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
        If `cell` is no `Cell`, a function no function of so many arguments, or a formula has a
        literal number or does what no kernel can: says where, and what to write.
    ValueError
        If a count or a derivative is wrong: says which.
    """
    if not isinstance(cell, Cell):
        raise TypeError(f"cell: expected a Cell, got {type(cell).__name__}")
    points, rng = check_size(points, "points"), check_rng(rng)
    if devices is None:
        from .. import cuda

        devices = ("cpu", "cuda") if cuda.is_available() else ("cpu",)
    devices = () if cell.masks else tuple(devices)
    _refuse_literals(cell)
    error = _check_derivatives(cell, points, rng)
    for device in devices:
        _check_layer(cell, device, rng)
    return CellCheck(cell.name, points, error, devices)


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


def _refuse_literals(cell):
    """TypeError if one of a cell's formulas combines its inputs with a number as it stands."""
    graph, literals = Graph(), Literals()

    def given(name, count):
        nodes = [graph.leaf(f"{name}[{i}]") for i in range(count)]
        return tuple(Symbol(graph, node, literals) for node in nodes)

    inputs = {group: given(group, count) for group, count in _counts(cell).items()}
    state, saved, extra = inputs["state"], given("saved", cell.saved), _extra(cell, inputs)
    new, dnew = given("new", cell.states), given("dnew", cell.states)
    kept = (given("kept", cell.kept),) if cell.late else ()
    Trace(cell.forward, (inputs["x"], inputs["h"], state, *kept, *extra), "forward")
    Trace(cell.backward, (saved, state, new, dnew, *extra), "backward")
    if cell.late:
        (dgated,), carried = given("dgated", 1), given("carried", cell.carried)
        Trace(cell.gate, (inputs["early x"], inputs["early h"], state, *extra), "gate")
        Trace(cell.gate_backward, (saved, state, carried, dgated, *extra), "gate_backward")
    if literals:
        number, file, line = literals[0]
        raise TypeError(
            f"{file}:{line}: the number {number} turns float32 into float64 on CUDA: write "
            f"constant(x, {number}) of gpurnn.kernels.mathematics, where x is any input"
        )


def _numbers(result, count, what, like):
    """A function's result, checked to be a tuple of so many arrays."""
    if not isinstance(result, tuple) or len(result) != count:
        got = f"{len(result)}" if isinstance(result, tuple) else type(result).__name__
        raise ValueError(f"{what}: expected a tuple of {count} numbers, got {got}")
    return tuple(np.broadcast_to(part, like.shape) for part in result)


def _results(result, counts, function, like):
    """As `_numbers`, of a function's tuple of tuples; `counts` by the tuples' names."""
    if not isinstance(result, tuple) or len(result) != len(counts):
        got = f"{len(result)} results" if isinstance(result, tuple) else type(result).__name__
        raise ValueError(f"{function}: expected ({', '.join(counts)}), got {got}")
    return [
        _numbers(part, count, f"{function}: {name}", like)
        for part, (name, count) in zip(result, counts.items())
    ]


def _forward(cell, inputs):
    """(new states and what is gated, saved) of both phases."""
    state, extra, kept, gated = inputs["state"], _extra(cell, inputs), (), ()
    if cell.late:
        result = cell.gate(inputs["early x"], inputs["early h"], state, *extra)
        if not isinstance(result, tuple) or len(result) != 2:
            raise ValueError(f"gate: expected (gated, kept), got {result!r}")
        gated = (np.broadcast_to(result[0], state[0].shape),)
        kept = (_numbers(result[1], cell.kept, "gate: kept", state[0]),)
    new, saved = _results(
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
        late_da, carried, dstate = _results(result, counts, "backward", state[0])
        counts = {"da": cell.gates - cell.late, "dstate": cell.states}
        result = cell.gate_backward(saved, state, carried, seeds[-1], *extra)
        da, more = _results(result, counts, "gate_backward", state[0])
        dstate = tuple(a + b for a, b in zip(dstate, more))
        return {"early x": da, "early h": da, "x": late_da, "h": late_da, "state": dstate}
    counts = {"dx": cell.gates, "dh": cell.gates, "dstate": cell.states}
    if cell.weights:
        counts["dweights"] = len(cell.weights)
    dx, dh, dstate, *dweights = _results(result, counts, "backward", state[0])
    if not cell.apart and any((a != b).any() for a, b in zip(dx, dh)):
        raise ValueError("apart: expected True of a cell whose dx and dh differ")
    return {"x": dx, "h": dh, "state": dstate, "extra": dweights[0] if dweights else ()}


def _slopes(cell, inputs, group, i):
    """The differences of all outputs by one input."""

    def moved(by):
        parts = tuple(a + by * (k == i) for k, a in enumerate(inputs[group]))
        return _forward(cell, inputs | {group: parts})[0]

    return [(a - b) / (2 * _STEP) for a, b in zip(moved(_STEP), moved(-_STEP))]


def _check_derivatives(cell, points, rng):
    """The largest error; ValueError if one is no rounding."""
    inputs = {g: tuple(rng.standard_normal((n, points))) for g, n in _counts(cell).items()}
    for parts in inputs.values():
        for part in parts:
            part.flags.writeable = False
    outputs, saved = _forward(cell, inputs)
    again, _ = _forward(cell, inputs)
    if any((a != b).any() for a, b in zip(outputs, again)):
        raise ValueError("forward: expected a pure function, got another result the second time")
    slopes = {
        (group, i): _slopes(cell, inputs, group, i)
        for group, parts in inputs.items()
        for i in range(len(parts))
    }
    names = [f"new[{i}]" for i in range(cell.states)] + ["gated"]
    errors = []
    for number in range(len(outputs)):
        seeds = tuple(np.full(points, float(k == number)) for k in range(len(outputs)))
        gradients = _backward(cell, inputs, outputs, saved, seeds)
        errors += [
            _error(f"{names[number]} by {group}[{i}]", got, slopes[group, i][number], inputs)
            for group, parts in gradients.items()
            for i, got in enumerate(parts)
        ]
    return max(errors)


def _error(what, got, expected, inputs):
    """The largest error of a derivative; ValueError if it is no rounding."""
    errors = np.abs(got - expected) / np.maximum(1, np.abs(expected))
    worst = np.argmax(errors)
    # Written so that NaN is wrong too.
    if not errors[worst] <= _TOLERANCE:
        where = {
            group: [float(a[worst]) for a in parts] for group, parts in inputs.items() if parts
        }
        raise ValueError(
            f"backward: the derivative of {what}: expected {expected[worst]:.8g}, got "
            f"{got[worst]:.8g}, at {where}"
        )
    return float(errors[worst])


def _check_layer(cell, device, rng):
    """Compare a small layer's gradients with differences, along a random direction."""
    from ..layers import Recurrent

    steps, batch, inputs, hidden = _SIZES
    layer = Recurrent(cell, inputs, hidden, dtype="float64", device=device, rng=rng)
    x, weight = (rng.standard_normal((steps, batch, n)) for n in (inputs, hidden))
    way = {name: rng.standard_normal(a.shape) for name, a in layer.params.items()}
    x_way, start = rng.standard_normal(x.shape), layer.state_dict()

    def loss(by):
        layer.load_state_dict({name: start[name] + by * way[name] for name in start})
        y, _ = layer(to_device(x + by * x_way, device))
        return float((to_numpy(y) * weight).sum())

    _, _, backward = layer.forward(to_device(x, device))
    dx, _ = backward(to_device(weight, device))
    got = float((to_numpy(dx) * x_way).sum())
    got += sum(float((to_numpy(g) * way[name]).sum()) for name, g in layer.grads.items())
    expected = (loss(_STEP) - loss(-_STEP)) / (2 * _STEP)
    if not abs(got - expected) <= 10 * _TOLERANCE * max(1, abs(expected)):  # many steps, one sum
        raise ValueError(
            f"a layer on {device!r}: the derivative along a random direction: expected "
            f"{expected:.8g}, got {got:.8g}"
        )
