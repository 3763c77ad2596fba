"""What a recurrent cell is: a few numbers and the functions of one unit at one step."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property

from .kernels.cells import elman, gru, lstm, tree_lstm

_OF_EVERY_LAYER = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def check_weights(names, late):
    """The names of a cell's own weights as a tuple; ValueError if there cannot be such."""
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"weights: expected a tuple of names, got {names!r}")
    if names and late:
        raise ValueError(f"weights: expected none of a two-phase cell, got {', '.join(names)}")
    if len({*names, *_OF_EVERY_LAYER}) < len(names) + len(_OF_EVERY_LAYER):
        raise ValueError(
            f"weights: expected names, each once, other than {', '.join(_OF_EVERY_LAYER)}, got "
            f"{', '.join(names)}"
        )
    return tuple(names)


@dataclass(frozen=True)
class Cell:
    """The mathematics of one hidden unit of one sequence at one time step.

    All functions are pure, take and return tuples of numbers, and are written with the
    functions of `gpurnn.kernels.mathematics`. State 0 is the hidden state h that the recurrent
    product sees, and, unless `output` says otherwise, the layer's output.

    - ``forward(x, h, state) -> new, saved``: `x` and `h` hold for each gate the product with
      the input and with the hidden state (biases included), `state` and `new` the states before
      and after the step, `saved` what `backward` needs besides the states.
    - ``backward(saved, state, new, dnew) -> dx, dh, dstate``: gradients by `x`, by `h`, and by
      `state` as far as it does not go through the recurrent product.

    A cell whose last `late` gates see the hidden state only through a function of the other
    gates (the reset gate of the original GRU) works in two phases. Then `x` and `h` of the
    functions above are those of the late gates, and

    - ``gate(x, h, state) -> gated, kept`` comes first: from the early gates, what takes the
      hidden state's place in the late gates' product, and what ``forward(x, h, state, kept)``
      needs of them. `saved` still holds all that both phases' backward functions need.
    - ``backward(saved, state, new, dnew) -> da, carried, dstate`` gives the late gates'
      gradient, and ``gate_backward(saved, state, carried, dgated) -> da, dstate`` the early
      gates' and what is to be added to that of the state.

    A cell may take further numbers, `extras`, of each unit: weights of its own, which a layer has
    as parameters of shape (H,), and after them masks, which may differ between sequences and
    steps. Then every function takes a tuple of them, `extra`, as its last argument; if there
    are weights, ``backward`` returns a fourth tuple with the gradients by them.

    Attributes
    ----------
    name : str
    gates, states : how many of each
    saved : how many numbers `forward` saves
    apart : whether `dx` and `dh` of a step differ (one-phase cells)
    late, kept, carried : of a two-phase cell: how many late gates, kept and carried numbers
    weights : the names of the cell's own weights, as "weight_ci"; only of a one-phase cell
    masks : how many more extras there are
    output : which state is the layer's output
    normalised : whether the products with the input and with the hidden state go through layer
        normalisation (see `gpurnn.kernels.normalisation`) before the functions see them

    Raises ValueError if the numbers do not go together.
    """

    name: str
    gates: int
    states: int
    saved: int
    forward: Callable
    backward: Callable
    apart: bool = False
    late: int = 0
    kept: int = 0
    carried: int = 0
    gate: Callable | None = None
    gate_backward: Callable | None = None
    weights: tuple[str, ...] = ()
    masks: int = 0
    output: int = 0
    normalised: bool = False

    def __post_init__(self):
        if not 0 <= self.output < self.states:
            raise ValueError(
                f"output: expected the number of one of {self.states} states, got {self.output}"
            )
        check_weights(self.weights, self.late)

    def __hash__(self):
        return self._hash

    @cached_property
    def _hash(self):
        """Kernels and plans are found by cells, at every call."""
        return hash(tuple(getattr(self, field.name) for field in fields(self)))

    def __getstate__(self):
        """Without the hash, which is of this process alone."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def extras(self):
        """How many numbers `extra` holds."""
        return len(self.weights) + self.masks

    @property
    def source(self):
        """The Python text of the cell's functions."""
        functions = (self.gate, self.forward, self.backward, self.gate_backward)
        return "\n\n".join(inspect.getsource(f) for f in functions if f)


@dataclass(frozen=True)
class TreeCell:
    """The mathematics of one hidden unit of one node of a tree, from its children's states.

    ``forward(x, h, state) -> new, saved`` and ``backward(saved, state, new, dnew) -> dx, dh,
    dstate`` are those of a `Cell`; `h` holds the gates' products with the children's hidden
    states (of a node without children: zeros), and `dx` and `dh` may differ. `state` is ``()`` on
    the way back, and also on the way forward of a cell with one state, whose `dstate` nobody
    reads. If there are two, it is ``(carried,)`` there, the sum over the children of what

    - ``forward_child(x, h, c) -> value, f`` gives of a child's state 1, `f` being a gate of that
      child's own, and
    - ``backward_child(f, c, dcarried) -> da, dc`` gives the gradients by `f`'s sum x + h and by
      `c`; and `dstate` is ``(dcarried,)``.

    `f` is whatever number backward_child needs of forward_child, which need be no gate.

    Attributes
    ----------
    name : str
    gates, states, saved : how many of each
        The children's own gates do not count. There are as many states as said above, and no
        more saved numbers than gates.

    Raises ValueError if the numbers and functions do not go together.
    """

    name: str
    gates: int
    states: int
    saved: int
    forward: Callable
    backward: Callable
    forward_child: Callable | None = None
    backward_child: Callable | None = None

    def __post_init__(self):
        if (self.forward_child is None) != (self.backward_child is None):
            raise ValueError("forward_child, backward_child: expected both or none")
        states = 1 if self.forward_child is None else 2
        if self.states != states:
            with_or_without = "without" if states == 1 else "with"
            raise ValueError(
                f"states: expected {states} of a cell {with_or_without} forward_child, got "
                f"{self.states}"
            )
        if self.gates < 1 or not 0 <= self.saved <= self.gates:
            raise ValueError(
                "gates, saved: expected a gate at least and no more saved numbers, got "
                f"{self.gates} and {self.saved}"
            )


RNN_TANH = Cell("rnn_tanh", 1, 1, 0, elman.forward_tanh, elman.backward_tanh)
RNN_RELU = Cell("rnn_relu", 1, 1, 0, elman.forward_relu, elman.backward_relu)
LSTM = Cell("lstm", 4, 2, 4, lstm.forward, lstm.backward)
LSTM_PEEPHOLES = Cell(
    "lstm_peepholes", 4, 2, 4, lstm.forward_peepholes, lstm.backward_peepholes,
    weights=("weight_ci", "weight_cf", "weight_co"),
)  # fmt: skip
LSTM_COUPLED = Cell("lstm_coupled", 3, 2, 3, lstm.forward_coupled, lstm.backward_coupled)
LSTM_COUPLED_PEEPHOLES = Cell(
    "lstm_coupled_peepholes", 3, 2, 3, lstm.forward_coupled_peepholes,
    lstm.backward_coupled_peepholes, weights=("weight_cf", "weight_co"),
)  # fmt: skip
GRU_RESET_AFTER = Cell("gru_after", 3, 1, 4, gru.forward_after, gru.backward_after, apart=True)
GRU_RESET_BEFORE = Cell(
    "gru_before",
    gates=3,
    states=1,
    saved=3,
    forward=gru.forward_before,
    backward=gru.backward_before,
    late=1,
    kept=2,
    carried=1,
    gate=gru.gate_before,
    gate_backward=gru.gate_backward_before,
)
TREE_TANH = TreeCell("tree_tanh", 1, 1, 0, elman.forward_tanh, elman.backward_tanh)
TREE_RELU = TreeCell("tree_relu", 1, 1, 0, elman.forward_relu, elman.backward_relu)
TREE_LSTM = TreeCell(
    "tree_lstm", 3, 2, 3, tree_lstm.forward, tree_lstm.backward, tree_lstm.forward_child,
    tree_lstm.backward_child,
)  # fmt: skip
