"""Gated recurrent unit. K. Cho et al., "Learning phrase representations using RNN
encoder-decoder", 2014. Gates in the order r z n.

    r, z = sigmoid(...)    h_t = n + z (h_{t-1} - n)

The candidate n sees the recurrent state through the reset gate, which stands
- after the product, as in cuDNN and PyTorch:   n = tanh(W x + b + r (U h + c))
- before it, as in the paper and Keras v1:      n = tanh(W x + b + U (r h) + c)

Of the second form the recurrent product of n must wait for r: it has two phases.
"""

from ..mathematics import sigmoid, sigmoid_slope, tanh, tanh_slope


def forward_after(x, h, state):
    r = sigmoid(x[0] + h[0])
    z = sigmoid(x[1] + h[1])
    n = tanh(x[2] + r * h[2])
    return (n + z * (state[0] - n),), (r, z, n, h[2])


def backward_after(saved, state, new, dnew):
    r, z, n, hn = saved
    dh = dnew[0]
    dn = (dh - dh * z) * tanh_slope(n)
    dr = dn * hn * sigmoid_slope(r)
    dz = dh * (state[0] - n) * sigmoid_slope(z)
    return (dr, dz, dn), (dr, dz, dn * r), (dh * z,)


def gate_before(x, h, state):
    r = sigmoid(x[0] + h[0])
    z = sigmoid(x[1] + h[1])
    return r * state[0], (r, z)


def forward_before(x, h, state, kept):
    r, z = kept
    n = tanh(x[0] + h[0])
    return (n + z * (state[0] - n),), (r, z, n)


def backward_before(saved, state, new, dnew):
    r, z, n = saved
    dh = dnew[0]
    dn = (dh - dh * z) * tanh_slope(n)
    dz = dh * (state[0] - n) * sigmoid_slope(z)
    return (dn,), (dz,), (dh * z,)


def gate_backward_before(saved, state, carried, dgated):
    r = saved[0]
    dr = dgated * state[0] * sigmoid_slope(r)
    return (dr, carried[0]), (dgated * r,)
