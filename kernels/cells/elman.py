"""The simple recurrent network's unit. J. L. Elman, "Finding structure in time", 1990.

h_t = act(W x_t + b + U h_{t-1} + c)
"""

from ..mathematics import positive_part, select, tanh, tanh_slope, zero


def forward_tanh(x, h, state):
    return (tanh(x[0] + h[0]),), ()


def backward_tanh(saved, state, new, dnew):
    da = dnew[0] * tanh_slope(new[0])
    return (da,), (da,), (zero(da),)


def forward_relu(x, h, state):
    return (positive_part(x[0] + h[0]),), ()


def backward_relu(saved, state, new, dnew):
    nothing = zero(dnew[0])
    da = select(new[0] > nothing, dnew[0], nothing)
    return (da,), (da,), (nothing,)
