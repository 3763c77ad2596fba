"""Long short-term memory over trees. K. S. Tai, R. Socher and C. D. Manning, "Improved semantic
representations from tree-structured long short-term memory networks", 2015.

Every node has the gates i, g, o (g is their u); every child is let through by a forget gate:

    f_k = sigmoid(...)      carried = sum over the children k of f_k c_k
    c = i g + carried       h = o tanh(c)

What the gates see of the children's h, and so whether this is their child-sum (eqs. 2-8) or their
N-ary network (eqs. 9-14), is the schedules' affair.
"""

from ..mathematics import sigmoid, sigmoid_slope, tanh, tanh_slope
from .lstm import back_from_output


def forward_child(x, h, c):
    """What a child's c adds to `carried`, and its forget gate."""
    f = sigmoid(x + h)
    return f * c, f


def backward_child(f, c, dcarried):
    """The gradients by the sum of a forget gate and by the child's c."""
    return dcarried * c * sigmoid_slope(f), dcarried * f


def forward(x, h, state):
    (carried,) = state
    i = sigmoid(x[0] + h[0])
    g = tanh(x[1] + h[1])
    o = sigmoid(x[2] + h[2])
    c = i * g + carried
    return (o * tanh(c), c), (i, g, o)


def backward(saved, state, new, dnew):
    i, g, o = saved
    da_o, dc = back_from_output(dnew, o, new[1])
    da = (dc * g * sigmoid_slope(i), dc * i * tanh_slope(g), da_o)
    return da, da, (dc,)
