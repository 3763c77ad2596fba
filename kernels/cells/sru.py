"""Simple recurrent units. T. Lei, Y. Zhang, S. Wang, H. Dai, Y. Artzi, "Simple recurrent units
for highly parallelizable recurrence", 2018, equations 1 to 4; gates v f r (s).

    f = sigmoid(f + w_f c_{t-1})    c_t = f c_{t-1} + (1 - f) v
    r = sigmoid(r + w_r c_{t-1})    h_t = r c_t + (1 - r) s

s is the layer's input where that has as many numbers as come out, else a product of it. Without
the weights w, the cell's own, the gates see the input only, and the states are a scan.
"""

from ..mathematics import complement, sigmoid, sigmoid_slope
from .scans import LinearCell, ScanCell


def _forget(x):
    f = sigmoid(x[1])
    return f, complement(f) * x[0]


def _highway(x, c):
    r = sigmoid(x[2])
    return r * c + complement(r) * x[3]


def _by_highway(x, c, dy):
    return sigmoid(x[2]) * dy


def _back(x, da, db, c, dy):
    f, r = sigmoid(x[1]), sigmoid(x[2])
    df = (da - db * x[0]) * sigmoid_slope(f)
    dr = dy * (c - x[3]) * sigmoid_slope(r)
    return db * complement(f), df, dr, dy * complement(r)


def _gates_of_state(x, c):
    """What x is once the gates have seen the state."""
    return x[0], x[1] + x[4] * c, x[2] + x[5] * c, x[3]


def _step(x, old):
    seen = _gates_of_state(x, old)
    f, gained = _forget(seen)
    new = f * old + gained
    return new, _highway(seen, new)


def _step_back(x, old, new, dy, dnew):
    seen = _gates_of_state(x, old)
    dc = dnew + _by_highway(seen, new, dy)
    dv, df, dr, ds = _back(seen, dc * old, dc, new, dy)
    f, _ = _forget(seen)
    return (dv, df, dr, ds, df * old, dr * old), f * dc + df * x[4] + dr * x[5]


_LINEAR = {"coefficients": _forget, "by_coefficients": _back}
_LINEAR |= {"output": _highway, "by_output": _by_highway}
_OF_STATE = {"step": _step, "backward": _step_back, "weights": ("weight_cf", "weight_cr")}
_WITH_INPUT, _WITH_PRODUCT = {"gates": 3, "highway": True}, {"gates": 4}

SRU = LinearCell(name="SRU", **_WITH_INPUT, **_LINEAR)
SRU_OF_PRODUCT = LinearCell(name="SRU", **_WITH_PRODUCT, **_LINEAR)
SRU_PEEPHOLES = ScanCell(name="SRU", **_WITH_INPUT, **_OF_STATE)
SRU_PEEPHOLES_OF_PRODUCT = ScanCell(name="SRU", **_WITH_PRODUCT, **_OF_STATE)
