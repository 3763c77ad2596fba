"""Light recurrences, of one unit each: no unit's state meets another's on its way through time.

The state c goes from step to step; what comes out is y, often c itself. All gates' products with
the input are at hand before the first step. Most are linear in the state, c_t = a_t c_{t-1} + b_t
with a and b that know nothing of c: those can be run in chunks of time side by side.

L. Feng et al., "Were RNNs all we needed?", 2024, in their plain form (section 3; not that of
their appendix, where logarithms want candidates above 0). Of the inputs' products:

    minGRU   z, v       z = sigmoid(z)                        h_t = (1 - z) h_{t-1} + z v
    minLSTM  f, i, v    f = sigmoid(f), i = sigmoid(i)        h_t = (f h_{t-1} + i v) / (f + i)
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property

from ..mathematics import complement, sigmoid, sigmoid_slope, softplus


@dataclass(frozen=True, kw_only=True)
class _Cell:
    """What a light recurrence reads of one unit of one sequence at one step.

    x is a tuple: the products of `gates`; then, if `highway`, the layer's own input in the unit's
    place; then the unit's of each of `weights`.

    The other fields are those of a `Cell` that a stack of layers asks for. Of its `states` a cell
    knows the first; the others are its inputs' (see `kernels.causal_convolution`).
    """

    name: str
    gates: int
    highway: bool = False
    weights: tuple = ()
    states: int = 1
    masks = 0
    normalised = False

    @property
    def extras(self):
        return len(self.weights)

    @property
    def reads(self):
        """How many numbers x are."""
        return self.gates + self.highway + len(self.weights)


@dataclass(frozen=True, kw_only=True)
class ScanCell(_Cell):
    """A light recurrence of any form; see `_Cell` for x.

    step: (x, old state) -> (new state, y)
    backward: (x, old, new, dy, dnew) -> (the gradients by x, dold)
    """

    step: Callable
    backward: Callable
    coefficients = None


def _state(x, c):
    return c


def _by_state(x, c, dy):
    return dy


@dataclass(frozen=True, kw_only=True)
class LinearCell(_Cell):
    """The light recurrence c = a c + b, with the functions of a `ScanCell`.

    coefficients: x -> (a, b)
    by_coefficients: (x, da, db, c, dy), gradients by a, b and the output -> the gradients by x
    output: (x, c) -> y
    by_output: (x, c, dy) -> the gradient by c
    """

    coefficients: Callable
    by_coefficients: Callable
    output: Callable = _state
    by_output: Callable = _by_state

    @cached_property
    def step(self):
        coefficients, output = self.coefficients, self.output

        def step(x, old):
            a, b = coefficients(x)
            new = a * old + b
            return new, output(x, new)

        return step

    @cached_property
    def backward(self):
        coefficients, by_output = self.coefficients, self.by_output
        by_coefficients = self.by_coefficients

        def backward(x, old, new, dy, dnew):
            a, _ = coefficients(x)
            dc = dnew + by_output(x, new, dy)
            return by_coefficients(x, dc * old, dc, new, dy), a * dc

        return backward

    def __getstate__(self):
        """Without the functions that are made of others, which cannot be pickled."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def _given(x):
    return x


def _given_back(x, da, db, c, dy):
    return da, db


def _min_gru(x):
    z = sigmoid(x[0])
    return complement(z), z * x[1]


def _min_gru_back(x, da, db, c, dy):
    z = sigmoid(x[0])
    return (db * x[1] - da) * sigmoid_slope(z), db * z


def _forgotten(x):
    """f / (f + i), which is no 0 / 0 where both gates are shut."""
    return sigmoid(softplus(-x[1]) - softplus(-x[0]))


def _min_lstm(x):
    a = _forgotten(x)
    return a, complement(a) * x[2]


def _min_lstm_back(x, da, db, c, dy):
    a = _forgotten(x)
    d = (da - db * x[2]) * sigmoid_slope(a)
    return d * sigmoid(-x[0]), -d * sigmoid(-x[1]), db * complement(a)


GIVEN = LinearCell(name="linear scan", gates=2, coefficients=_given, by_coefficients=_given_back)
MIN_GRU = LinearCell(name="minGRU", gates=2, coefficients=_min_gru, by_coefficients=_min_gru_back)
MIN_LSTM = LinearCell(
    name="minLSTM", gates=3, coefficients=_min_lstm, by_coefficients=_min_lstm_back
)
