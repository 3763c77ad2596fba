"""Quasi-recurrent pooling. J. Bradbury, S. Merity, C. Xiong, R. Socher, "Quasi-recurrent neural
networks", 2017, equations 3 to 5; gates z f (o (i)), of a convolution of the inputs.

    z = tanh(z)    f, o, i = sigmoid(...)

    f-pooling      h_t = f h_{t-1} + (1 - f) z
    fo-pooling     c_t = f c_{t-1} + (1 - f) z    h_t = o c_t
    ifo-pooling    c_t = f c_{t-1} + i z          h_t = o c_t
"""

from ..mathematics import complement, sigmoid, sigmoid_slope, tanh, tanh_slope
from .scans import LinearCell


def _forget(x):
    z, f = tanh(x[0]), sigmoid(x[1])
    return f, complement(f) * z


def _forget_back(x, da, db, c, dy):
    z, f = tanh(x[0]), sigmoid(x[1])
    return db * complement(f) * tanh_slope(z), (da - db * z) * sigmoid_slope(f)


def _let_in(x):
    return sigmoid(x[1]), sigmoid(x[3]) * tanh(x[0])


def _output(x, c):
    return sigmoid(x[2]) * c


def _by_output(x, c, dy):
    return sigmoid(x[2]) * dy


def _output_gate_back(x, c, dy):
    return dy * c * sigmoid_slope(sigmoid(x[2]))


def _forget_output_back(x, da, db, c, dy):
    dz, df = _forget_back(x, da, db, c, dy)
    return dz, df, _output_gate_back(x, c, dy)


def _let_in_output_back(x, da, db, c, dy):
    z, f, i = tanh(x[0]), sigmoid(x[1]), sigmoid(x[3])
    dz, df, di = db * i * tanh_slope(z), da * sigmoid_slope(f), db * z * sigmoid_slope(i)
    return dz, df, _output_gate_back(x, c, dy), di


_OUTPUT = {"output": _output, "by_output": _by_output}

POOLINGS = {
    "f": LinearCell(
        name="QRNN f", gates=2, coefficients=_forget, by_coefficients=_forget_back
    ),
    "fo": LinearCell(
        name="QRNN fo", gates=3, coefficients=_forget, by_coefficients=_forget_output_back,
        **_OUTPUT,
    ),
    "ifo": LinearCell(
        name="QRNN ifo", gates=4, coefficients=_let_in, by_coefficients=_let_in_output_back,
        **_OUTPUT,
    ),
}  # fmt: skip
