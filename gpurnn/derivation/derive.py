"""A whole cell from its way forward."""

import linecache
from itertools import count

from ..arrays import check_size
from ..cells import Cell, check_weights
from ..kernels import mathematics
from .differentiation import gradients
from .formula import Formula
from .graph import in_order
from .saving import following, smallest_cut
from .symbols import FUNCTIONS
from .writing import Writer

_numbers = count(1)


def derive_cell(forward, *, gates, states=1, late=0, gate=None, weights=(), masks=0, name=None):
    """A `Cell` from its way forward alone: the way back is derived.

        def update_gate_rnn(x, h, state):
            c = tanh(x[0] + h[0])
            g = sigmoid(x[1] + h[1])
            return c + g * (state[0] - c)

        cell = gpurnn.derive_cell(update_gate_rnn, gates=2)
        layer = gpurnn.Recurrent(cell, input_size=28, hidden_size=128)

    A formula may use ``+ - * /``, whole powers, comparisons, numbers, the functions of
    `gpurnn.kernels.mathematics` and functions of one's own that do. It is run once, on symbols;
    its graph is differentiated backwards; and both ways are written as Python functions, which
    `print(cell.source)` shows and which become kernels like those written by hand: on either
    device, in the type of the arrays (no literal of a derived cell turns float32 into float64).
    What the way back needs and would cost an exponential is saved, the rest computed anew.

    Parameters
    ----------
    forward : ``forward(x, h, state) -> new``
        Of one unit at one step: `x` and `h` hold for each gate the product with the input and
        with the hidden state (biases included), `state` the states before the step, and `new`
        is the tuple of those after it, or if there is one state, that. State 0 is the output
        and the hidden state.
    gates, states : how many of each
    late, gate :
        Where the last `late` gates see the hidden state through a function of the others (as
        behind the reset gate of Cho et al. 2014): ``gate(x, h, state) -> gated, kept`` gives,
        from the other gates, what takes the hidden state's place in the late gates' product,
        and a tuple of what ``forward(x, h, state, kept)``, which has the late gates, needs of
        them. Such a cell must see of each gate only the sum of x and h.
    weights : tuple of str
        Names of the cell's own weights, of which each unit has one: then ``forward(x, h, state,
        extra)`` finds them in `extra`, and their gradients are derived too. A layer of the cell
        has them as parameters (H,). Only of a cell of one phase.
    masks : int
        How many more numbers `extra` has, for both phases: masks, which have no gradient.
    name : None for that of `forward`

    Raises
    ------
    TypeError
        Where a formula does what no kernel can, in the words of the remedy.
    ValueError
        If the numbers of results, gates or states do not fit.
    """
    gates, states = check_size(gates, "gates"), check_size(states, "states")
    if (gate is None) != (late == 0):
        raise ValueError(f"late, gate: expected both or none, got {late!r} and {gate!r}")
    if late and not 0 < check_size(late, "late") < gates:
        raise ValueError(f"late: expected from 1 to below gates = {gates}, got {late}")
    weights, masks = check_weights(weights, late), check_size(masks, "masks", least=0)
    name = name or getattr(forward, "__name__", "cell")
    formula = Formula(gates - late if late else 0, late or gates, states, len(weights) + masks)
    formula.run(forward, gate)
    if late:
        return _two_phases(name, gates, formula, masks)
    return _one_phase(name, gates, formula, weights, masks)


class _Gradients:
    """Gradients by the nodes of a formula, and what the source calls them."""

    def __init__(self, formula, seeds):
        self._zero = formula.graph.literal(0)
        self._found = gradients(formula.graph, seeds)
        self.labels = {
            gradient: f"d{formula.labels[node]}"
            for node, gradient in self._found.items()
            if node in formula.labels
        }

    def by(self, nodes):
        """The gradients by some nodes; zeros where there are none."""
        return tuple(self._found.get(node, self._zero) for node in nodes)


def _items(name, nodes):
    """What the items of a tuple are called: node to name."""
    return {node: f"{name}[{i}]" for i, node in enumerate(nodes)}


def _given(formula):
    """(names of the states and extras, the last argument, in a tuple, if there are extras)."""
    extra = _items("extra", formula.extra)
    return _items("state", formula.state) | extra, ("extra",) if extra else ()


def _cut(needed, known, outputs):
    return smallest_cut(needed, known, dict.fromkeys(in_order(outputs)))


def _one_phase(name, gates, formula, weights, masks):
    (x, h), state, new = formula.late, formula.state, formula.new
    dnew, own = formula.leaves("dnew", len(new)), formula.extra[: len(weights)]
    back = _Gradients(formula, list(zip(new, dnew)))
    dx, dh, dstate, dweights = (back.by(nodes) for nodes in (x, h, state, own))
    given, last = _given(formula)
    known = given | _items("new", new) | _items("dnew", dnew)
    saved = _cut((*dx, *dh, *dstate, *dweights), known, new)

    inputs = _items("x", x) | _items("h", h) | given
    forward = Writer(("x", "h", "state", *last), inputs, formula.labels, "x[0]")
    backward = Writer(
        ("saved", "state", "new", "dnew", *last), known, back.labels | formula.labels, "dnew[0]"
    )
    backward.unpack("saved", saved)
    results = (dx, dh, dstate, dweights) if weights else (dx, dh, dstate)
    functions = _compile(
        name,
        forward=forward.function("forward", tuple(new), tuple(saved)),
        backward=backward.function("backward", *results),
    )
    return Cell(
        name, gates, len(state), len(saved), **functions, apart=dx != dh, weights=weights,
        masks=masks,
    )  # fmt: skip


def _two_phases(name, gates, formula, masks):
    late, state, new = formula.late[0], formula.state, formula.new
    dnew, (dgated,) = formula.leaves("dnew", len(new)), formula.leaves("dgated", 1)
    back = _Gradients(formula, list(zip(new, dnew)))
    gate_back = _Gradients(formula, [(formula.gated, dgated)])
    direct, through = (_of_sums(gradient, formula.early) for gradient in (back, gate_back))
    da, dstate = _of_sums(back, formula.late), back.by(state)
    carried = [node for node in dict.fromkeys(direct) if not node.is_literal(0)]
    links = dict(zip(carried, formula.leaves("carried", len(carried))))
    add = formula.graph.apply
    early_da = tuple(add("+", links.get(d, d), t) for d, t in zip(direct, through))
    early_dstate = gate_back.by(state)

    given, last = _given(formula)
    known_late = given | _items("new", new) | _items("dnew", dnew)
    known_early = given | _items("carried", links.values()) | {dgated: "dgated"}
    saved = _cut((*early_da, *early_dstate), known_early, (*new, formula.gated))
    saved += _cut((*da, *carried, *dstate), {*known_late, *saved}, new)
    kept = _kept(formula, (*new, *saved))

    labels, inputs = formula.labels, ("x", "h", "state")
    known_gates, known_candidates = (
        _items("x", x) | _items("h", h) | given for x, h in (formula.early, formula.late)
    )
    gate = Writer((*inputs, *last), known_gates, labels, "x[0]")
    forward = Writer((*inputs, "kept", *last), known_candidates, labels, "x[0]")
    forward.unpack("kept", kept)
    backward = Writer(
        ("saved", "state", "new", "dnew", *last), known_late, back.labels | labels, "dnew[0]"
    )
    backward.unpack("saved", saved)
    gate_backward = Writer(
        ("saved", "state", "carried", "dgated", *last), known_early, gate_back.labels | labels,
        "dgated",
    )  # fmt: skip
    gate_backward.unpack("saved", saved)
    functions = _compile(
        name,
        gate=gate.function("gate", formula.gated, tuple(kept)),
        forward=forward.function("forward", tuple(new), tuple(saved)),
        backward=backward.function("backward", da, tuple(carried), dstate),
        gate_backward=gate_backward.function("gate_backward", early_da, early_dstate),
    )
    return Cell(
        name, gates, len(state), len(saved), **functions, late=len(late), kept=len(kept),
        carried=len(carried), masks=masks,
    )  # fmt: skip


def _of_sums(gradients, sides):
    """The gradients by the sums of x and h of some gates; ValueError if they differ."""
    by_x, by_h = (gradients.by(nodes) for nodes in sides)
    if by_x != by_h:
        raise ValueError("gate: a cell of two phases may see of each gate only x[i] + h[i]")
    return by_x


def _kept(formula, needed):
    """What the late phase must know of the early one to compute `needed`."""
    known = (*formula.state, *formula.extra)
    nodes = in_order(needed)
    early = following(nodes, (*formula.early[0], *formula.early[1], *known))
    late = [node for node in nodes if node not in early]
    read = dict.fromkeys([a for node in late for a in node.operands] + list(needed))
    return smallest_cut(
        [node for node in read if node in early],
        known,
        {node: None for node in nodes if node in early},
    )


def _compile(name, **sources):
    """Name to function. `inspect.getsource` finds the text, so that tracebacks show it."""
    text = "\n\n".join(sources.values())
    file = f"<cell {name} {next(_numbers)}>"
    linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file
    namespace = {function: getattr(mathematics, function) for function in FUNCTIONS}
    exec(compile(text, file, "exec"), namespace)
    return {function: namespace[function] for function in sources}
