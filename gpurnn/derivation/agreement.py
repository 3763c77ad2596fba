"""Gradients against differences of the way forward, for a cell's functions and a small layer."""

import numpy as np

from ..arrays import to_device, to_numpy
from .graph import Graph
from .symbols import Literals, Symbol
from .tracing import Trace

_STEP = 1e-5
_TOLERANCE = 1e-6  # of the differences: the square of the step, and rounding over the step


def refuse_literals(formulas):
    """TypeError if a cell's formula combines its inputs with a number as it stands.

    formulas: of each what it is called, the function, and of how many numbers its arguments are
    tuples; None stands for a number alone.
    """
    graph, literals = Graph(), Literals()

    def given(name, count):
        nodes = [graph.leaf(f"{name}[{i}]") for i in range(1 if count is None else count)]
        symbols = tuple(Symbol(graph, node, literals) for node in nodes)
        return symbols[0] if count is None else symbols

    for what, function, counts in formulas:
        Trace(function, tuple(given(f"{what} {n}", c) for n, c in enumerate(counts)), what)
    if literals:
        number, file, line = literals[0]
        raise TypeError(
            f"{file}:{line}: the number {number} turns float32 into float64 on CUDA: write "
            f"constant(x, {number}) of gpurnn.kernels.mathematics, where x is any input"
        )


def numbers_of(result, count, what, like):
    """A function's result, checked to be a tuple of so many arrays."""
    if not isinstance(result, tuple) or len(result) != count:
        got = f"{len(result)}" if isinstance(result, tuple) else type(result).__name__
        raise ValueError(f"{what}: expected a tuple of {count} numbers, got {got}")
    return tuple(np.broadcast_to(part, like.shape) for part in result)


def results_of(result, counts, function, like):
    """As `numbers_of`, of a function's tuple of tuples; `counts` by the tuples' names."""
    if not isinstance(result, tuple) or len(result) != len(counts):
        got = f"{len(result)} results" if isinstance(result, tuple) else type(result).__name__
        raise ValueError(f"{function}: expected ({', '.join(counts)}), got {got}")
    return [
        numbers_of(part, count, f"{function}: {name}", like)
        for part, (name, count) in zip(result, counts.items())
    ]


def _slopes(forward, inputs, group, i):
    """The differences of all outputs by one input."""

    def moved(by):
        parts = tuple(a + by * (k == i) for k, a in enumerate(inputs[group]))
        return forward(inputs | {group: parts})[0]

    return [(a - b) / (2 * _STEP) for a, b in zip(moved(_STEP), moved(-_STEP))]


def check_derivatives(counts, names, forward, backward, points, rng):
    """The largest error of any derivative, at random points; ValueError if one is no rounding.

    counts: how many inputs there are, by groups; names: of the outputs.
    ``forward(inputs) -> outputs, saved`` and ``backward(inputs, outputs, saved, seeds)``: the
    gradients of the sum of seeds * outputs, by group, are those that are checked.
    """
    inputs = {group: tuple(rng.standard_normal((n, points))) for group, n in counts.items()}
    for parts in inputs.values():
        for part in parts:
            part.flags.writeable = False
    outputs, saved = forward(inputs)
    again, _ = forward(inputs)
    if any((a != b).any() for a, b in zip(outputs, again)):
        raise ValueError("forward: expected a pure function, got another result the second time")
    slopes = {
        (group, i): _slopes(forward, inputs, group, i)
        for group, parts in inputs.items()
        for i in range(len(parts))
    }
    errors = []
    for number in range(len(outputs)):
        seeds = tuple(np.full(points, float(k == number)) for k in range(len(outputs)))
        gradients = backward(inputs, outputs, saved, seeds)
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


def check_layer(layer, x, others, rng):
    """Compare the gradients of a layer called with (x, *others) with differences, along a random
    direction; ValueError if they differ."""
    device = layer.device
    way = {name: rng.standard_normal(a.shape) for name, a in layer.params.items()}
    x_way, start = rng.standard_normal(x.shape), layer.state_dict()
    y, _, backward = layer.forward(to_device(x, device), *others)
    weight = rng.standard_normal(y.shape)

    def loss(by):
        layer.load_state_dict({name: start[name] + by * way[name] for name in start})
        y = layer(to_device(x + by * x_way, device), *others)[0]
        return float((to_numpy(y) * weight).sum())

    dx = backward(to_device(weight, device))
    dx = dx[0] if isinstance(dx, tuple) else dx
    got = float((to_numpy(dx) * x_way).sum())
    got += sum(float((to_numpy(g) * way[name]).sum()) for name, g in layer.grads.items())
    expected = (loss(_STEP) - loss(-_STEP)) / (2 * _STEP)
    if not abs(got - expected) <= 10 * _TOLERANCE * max(1, abs(expected)):  # many steps, one sum
        raise ValueError(
            f"a layer on {device!r}: the derivative along a random direction: expected "
            f"{expected:.8g}, got {got:.8g}"
        )
