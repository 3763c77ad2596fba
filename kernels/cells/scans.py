"""Light recurrences h_t = a_t h_{t-1} + b_t, whose a and b know nothing of h.

L. Feng et al., "Were RNNs all we needed?", 2024, in their plain form (section 3; not that of
their appendix, where logarithms want candidates above 0). Of the inputs' products:

    minGRU   z, v       z = sigmoid(z)                        h_t = (1 - z) h_{t-1} + z v
    minLSTM  f, i, v    f = sigmoid(f), i = sigmoid(i)        h_t = (f h_{t-1} + i v) / (f + i)
"""

from collections.abc import Callable
from dataclasses import dataclass

from ..mathematics import complement, sigmoid, sigmoid_slope, softplus


@dataclass(frozen=True)
class ScanCell:
    """A light recurrence for one unit of one sequence at one step.

    coefficients: the products x[gates] -> (a, b)
    backward: (x, da, db), gradients by a and b -> the gradients by x

    The other fields are those of a `Cell` that a stack of layers asks for.
    """

    name: str
    gates: int
    coefficients: Callable
    backward: Callable
    states = 1
    masks = 0
    weights = ()
    extras = 0
    normalised = False


def _given(x):
    return x


def _given_back(x, da, db):
    return da, db


def _min_gru(x):
    z = sigmoid(x[0])
    return complement(z), z * x[1]


def _min_gru_back(x, da, db):
    z = sigmoid(x[0])
    return (db * x[1] - da) * sigmoid_slope(z), db * z


def _forgotten(x):
    """f / (f + i), which is no 0 / 0 where both gates are shut."""
    return sigmoid(softplus(-x[1]) - softplus(-x[0]))


def _min_lstm(x):
    a = _forgotten(x)
    return a, complement(a) * x[2]


def _min_lstm_back(x, da, db):
    a = _forgotten(x)
    d = (da - db * x[2]) * sigmoid_slope(a)
    return d * sigmoid(-x[0]), -d * sigmoid(-x[1]), db * complement(a)


GIVEN = ScanCell("linear scan", 2, _given, _given_back)
MIN_GRU = ScanCell("minGRU", 2, _min_gru, _min_gru_back)
MIN_LSTM = ScanCell("minLSTM", 3, _min_lstm, _min_lstm_back)
