"""Long short-term memory. S. Hochreiter and J. Schmidhuber, 1997; with the forget gate of
F. A. Gers, J. Schmidhuber and F. Cummins, "Learning to forget", 2000. Gates in the order i f g o.

    i, f, o = sigmoid(...)    g = tanh(...)
    c_t = f c_{t-1} + i g     h_t = o tanh(c_t)

With peepholes (F. A. Gers and J. Schmidhuber, "Recurrent nets that time and count", 2000) the
gates i and f also see w_ci c_{t-1} and w_cf c_{t-1}, the gate o sees w_co c_t. Coupled (CIFG in
K. Greff et al., "LSTM: a search space odyssey", 2017), i = 1 - f: the gates are f g o.
"""

from ..mathematics import sigmoid, sigmoid_slope, tanh, tanh_slope, zero


def forward(x, h, state):
    i = sigmoid(x[0] + h[0])
    f = sigmoid(x[1] + h[1])
    g = tanh(x[2] + h[2])
    o = sigmoid(x[3] + h[3])
    c = f * state[1] + i * g
    return (o * tanh(c), c), (i, f, g, o)


def back_from_output(dnew, o, c):
    """The gradients by the sum of the gate o, and by c but for what that gate saw of it."""
    squashed = tanh(c)
    da_o = dnew[0] * squashed * sigmoid_slope(o)
    return da_o, dnew[1] + dnew[0] * o * tanh_slope(squashed)


def backward(saved, state, new, dnew):
    i, f, g, o = saved
    da_o, dc = back_from_output(dnew, o, new[1])
    da = (
        dc * g * sigmoid_slope(i),
        dc * state[1] * sigmoid_slope(f),
        dc * i * tanh_slope(g),
        da_o,
    )
    return da, da, (zero(dc), dc * f)


def forward_peepholes(x, h, state, weights):
    w_ci, w_cf, w_co = weights
    i = sigmoid(x[0] + h[0] + w_ci * state[1])
    f = sigmoid(x[1] + h[1] + w_cf * state[1])
    g = tanh(x[2] + h[2])
    c = f * state[1] + i * g
    o = sigmoid(x[3] + h[3] + w_co * c)
    return (o * tanh(c), c), (i, f, g, o)


def backward_peepholes(saved, state, new, dnew, weights):
    i, f, g, o = saved
    w_ci, w_cf, w_co = weights
    da_o, dc = back_from_output(dnew, o, new[1])
    dc = dc + da_o * w_co
    da_i = dc * g * sigmoid_slope(i)
    da_f = dc * state[1] * sigmoid_slope(f)
    da = (da_i, da_f, dc * i * tanh_slope(g), da_o)
    dstate = (zero(dc), dc * f + da_i * w_ci + da_f * w_cf)
    return da, da, dstate, (da_i * state[1], da_f * state[1], da_o * new[1])


def forward_coupled(x, h, state):
    f = sigmoid(x[0] + h[0])
    g = tanh(x[1] + h[1])
    o = sigmoid(x[2] + h[2])
    c = g + f * (state[1] - g)
    return (o * tanh(c), c), (f, g, o)


def backward_coupled(saved, state, new, dnew):
    f, g, o = saved
    da_o, dc = back_from_output(dnew, o, new[1])
    da = (dc * (state[1] - g) * sigmoid_slope(f), (dc - dc * f) * tanh_slope(g), da_o)
    return da, da, (zero(dc), dc * f)


def forward_coupled_peepholes(x, h, state, weights):
    w_cf, w_co = weights
    f = sigmoid(x[0] + h[0] + w_cf * state[1])
    g = tanh(x[1] + h[1])
    c = g + f * (state[1] - g)
    o = sigmoid(x[2] + h[2] + w_co * c)
    return (o * tanh(c), c), (f, g, o)


def backward_coupled_peepholes(saved, state, new, dnew, weights):
    f, g, o = saved
    w_cf, w_co = weights
    da_o, dc = back_from_output(dnew, o, new[1])
    dc = dc + da_o * w_co
    da_f = dc * (state[1] - g) * sigmoid_slope(f)
    da = (da_f, (dc - dc * f) * tanh_slope(g), da_o)
    dstate = (zero(dc), dc * f + da_f * w_cf)
    return da, da, dstate, (da_f * state[1], da_o * new[1])
