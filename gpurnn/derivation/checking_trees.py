"""As `checking`, of the cells of trees."""

from functools import partial

import numpy as np

from ..trees import Trees
from .agreement import check_derivatives, check_layer, numbers_of, refuse_literals, results_of

_PARENTS = (2, 2, 4, 4, -1, 6, -1)  # of the trees that a layer is tried on
_INPUTS, _HIDDEN = 2, 3


def check_tree_cell(cell, points, devices, rng):
    """See `check_cell`; returns the largest error."""
    from ..layers import TreeNetwork

    refuse_literals(_formulas(cell))
    names = [f"new[{i}]" for i in range(cell.states)]
    forward, backward = partial(_forward, cell), partial(_backward, cell)
    error = check_derivatives(_counts(cell), names, forward, backward, points, rng)
    trees = Trees(_PARENTS)
    for device in devices:
        for children in (None, trees.places):
            layer = TreeNetwork(
                cell, _INPUTS, _HIDDEN, children, dtype="float64", device=device, rng=rng
            )
            check_layer(layer, rng.standard_normal((len(trees), _INPUTS)), (trees,), rng)
    return error


def _counts(cell):
    """How many numbers each group of inputs has, of a node with one child at most."""
    of_child = 1 if cell.forward_child else 0
    return {
        "x": cell.gates, "h": cell.gates, "child x": of_child, "child h": of_child,
        "child c": of_child,
    }  # fmt: skip


def _formulas(cell):
    """See `agreement`."""
    gates, states, of_child = cell.gates, cell.states, 1 if cell.forward_child else 0
    formulas = [
        ("forward", cell.forward, (gates, gates, of_child)),
        ("backward", cell.backward, (cell.saved, 0, states, states)),
    ]
    if of_child:
        three = (None, None, None)
        formulas.append(("forward_child", cell.forward_child, three))
        formulas.append(("backward_child", cell.backward_child, three))
    return formulas


def _forward(cell, inputs):
    """(new states, (saved, what the child's gate left))."""
    like, state, gate = inputs["x"][0], (), ()
    if cell.forward_child:
        given = (inputs[f"child {name}"][0] for name in "xhc")
        value, f = numbers_of(cell.forward_child(*given), 2, "forward_child", like)
        state, gate = (value,), (f,)
    new, saved = results_of(
        cell.forward(inputs["x"], inputs["h"], state),
        {"new": cell.states, "saved": cell.saved}, "forward", like,
    )  # fmt: skip
    return new, (saved, gate)


def _backward(cell, inputs, new, kept, dnew):
    """The gradients of the sum of dnew * new, by group of inputs."""
    (saved, gate), like = kept, inputs["x"][0]
    counts = {"dx": cell.gates, "dh": cell.gates, "dstate": len(gate)}
    result = cell.backward(saved, (), new, dnew)
    if not gate and isinstance(result, tuple) and len(result) == 3:
        result = *result[:2], ()  # of what there is none
    dx, dh, dstate = results_of(result, counts, "backward", like)
    if not gate:
        return {"x": dx, "h": dh}
    result = cell.backward_child(*gate, *inputs["child c"], *dstate)
    da, dc = numbers_of(result, 2, "backward_child", np.asarray(like))
    return {"x": dx, "h": dh, "child x": (da,), "child h": (da,), "child c": (dc,)}
