"""Long short-term memory. S. Hochreiter and J. Schmidhuber, 1997; with the forget gate of
F. A. Gers, J. Schmidhuber and F. Cummins, "Learning to forget", 2000. Gates in the order i f g o.

    i, f, o = sigmoid(...)    g = tanh(...)
    c_t = f c_{t-1} + i g     h_t = o tanh(c_t)
"""

from ..mathematics import sigmoid, sigmoid_slope, tanh, tanh_slope, zero


def forward(x, h, state):
    i = sigmoid(x[0] + h[0])
    f = sigmoid(x[1] + h[1])
    g = tanh(x[2] + h[2])
    o = sigmoid(x[3] + h[3])
    c = f * state[1] + i * g
    return (o * tanh(c), c), (i, f, g, o)


def backward(saved, state, new, dnew):
    i, f, g, o = saved
    dh = dnew[0]
    squashed = tanh(new[1])
    dc = dnew[1] + dh * o * tanh_slope(squashed)
    da = (
        dc * g * sigmoid_slope(i),
        dc * state[1] * sigmoid_slope(f),
        dc * i * tanh_slope(g),
        dh * squashed * sigmoid_slope(o),
    )
    return da, da, (zero(dh), dc * f)
