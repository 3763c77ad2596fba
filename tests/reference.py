"""Recurrent layers in plain NumPy float64: slow, obvious, and what every kernel is held against.

One sequence at a time, one step at a time, vectors instead of batches, so that a formula here
can be laid beside the equation in the paper. A sequence of length n is simply given n steps,
and the reverse direction is the forward one on the reversed sequence: neither padding nor masks
appear anywhere. The backward steps are the chain rule by hand, held against finite differences
in test_reference.py.

A cell's `step(w, x, state)` gives the new state (a tuple of vectors; the first is the output)
and what backward needs; `step_backward(w, saved, dstate)` takes the gradient by the new state
and gives `(dx, dstate_before, dw)`. `w` holds the parameters of one layer and direction by the
names "weight_ih", "weight_hh", "bias_ih", "bias_hh".
"""

from types import SimpleNamespace

import numpy as np


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def _inputs_and_recurrent(w, x, h):
    return w["weight_ih"] @ x + w["bias_ih"], w["weight_hh"] @ h + w["bias_hh"]


def _through_products(w, x, h, dinputs, drecurrent):
    """dx, dh and the parameters' gradients from those by the two products of a step."""
    gradients = {
        "weight_ih": np.outer(dinputs, x),
        "weight_hh": np.outer(drecurrent, h),
        "bias_ih": dinputs,
        "bias_hh": drecurrent,
    }
    return w["weight_ih"].T @ dinputs, w["weight_hh"].T @ drecurrent, gradients


class ElmanTanh:
    """Elman (1990): h' = tanh(W x + b + U h + c)."""

    gates, states = 1, 1

    @staticmethod
    def step(w, x, state):
        (h,) = state
        inputs, recurrent = _inputs_and_recurrent(w, x, h)
        h_new = np.tanh(inputs + recurrent)
        return (h_new,), (x, h, h_new)

    @staticmethod
    def step_backward(w, saved, dstate):
        x, h, h_new = saved
        (dh_new,) = dstate
        da = dh_new * (1 - h_new**2)
        dx, dh, dw = _through_products(w, x, h, da, da)
        return dx, (dh,), dw


class ElmanRelu:
    """h' = max(0, W x + b + U h + c)."""

    gates, states = 1, 1

    @staticmethod
    def step(w, x, state):
        (h,) = state
        inputs, recurrent = _inputs_and_recurrent(w, x, h)
        h_new = np.maximum(inputs + recurrent, 0)
        return (h_new,), (x, h, h_new)

    @staticmethod
    def step_backward(w, saved, dstate):
        x, h, h_new = saved
        (dh_new,) = dstate
        da = dh_new * (h_new > 0)
        dx, dh, dw = _through_products(w, x, h, da, da)
        return dx, (dh,), dw


class LSTM:
    """Hochreiter and Schmidhuber (1997) with the forget gate of Gers et al. (2000); gates i f g o.

    c' = f c + i g,  h' = o tanh(c')
    """

    gates, states = 4, 2

    @staticmethod
    def step(w, x, state):
        h, c = state
        inputs, recurrent = _inputs_and_recurrent(w, x, h)
        a_i, a_f, a_g, a_o = np.split(inputs + recurrent, 4)
        i, f, g, o = sigmoid(a_i), sigmoid(a_f), np.tanh(a_g), sigmoid(a_o)
        c_new = f * c + i * g
        h_new = o * np.tanh(c_new)
        return (h_new, c_new), (x, h, c, i, f, g, o, c_new)

    @staticmethod
    def step_backward(w, saved, dstate):
        x, h, c, i, f, g, o, c_new = saved
        dh_new, dc_new = dstate
        do = dh_new * np.tanh(c_new)
        dc_new = dc_new + dh_new * o * (1 - np.tanh(c_new) ** 2)
        di, df, dg, dc = dc_new * g, dc_new * c, dc_new * i, dc_new * f
        da = np.concatenate([di * i * (1 - i), df * f * (1 - f), dg * (1 - g**2), do * o * (1 - o)])
        dx, dh, dw = _through_products(w, x, h, da, da)
        return dx, (dh, dc), dw


class GRUResetAfter:
    """The GRU of cuDNN and PyTorch; gates r z n, the reset gate after the recurrent product.

    n = tanh(W_n x + b_n + r (U_n h + c_n)),  h' = (1 - z) n + z h
    """

    gates, states = 3, 1

    @staticmethod
    def step(w, x, state):
        (h,) = state
        inputs, recurrent = _inputs_and_recurrent(w, x, h)
        x_r, x_z, x_n = np.split(inputs, 3)
        h_r, h_z, h_n = np.split(recurrent, 3)
        r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
        n = np.tanh(x_n + r * h_n)
        h_new = (1 - z) * n + z * h
        return (h_new,), (x, h, r, z, n, h_n)

    @staticmethod
    def step_backward(w, saved, dstate):
        x, h, r, z, n, h_n = saved
        (dh_new,) = dstate
        da_n = dh_new * (1 - z) * (1 - n**2)
        da_z = dh_new * (h - n) * z * (1 - z)
        da_r = da_n * h_n * r * (1 - r)
        dinputs = np.concatenate([da_r, da_z, da_n])
        drecurrent = np.concatenate([da_r, da_z, da_n * r])
        dx, dh, dw = _through_products(w, x, h, dinputs, drecurrent)
        return dx, (dh + dh_new * z,), dw


class GRUResetBefore:
    """Cho et al. (2014): the reset gate before the recurrent product; gates r z n.

    n = tanh(W_n x + b_n + U_n (r h) + c_n),  h' = (1 - z) n + z h
    """

    gates, states = 3, 1

    @staticmethod
    def step(w, x, state):
        (h,) = state
        x_r, x_z, x_n = np.split(w["weight_ih"] @ x + w["bias_ih"], 3)
        U_r, U_z, U_n = np.split(w["weight_hh"], 3)
        c_r, c_z, c_n = np.split(w["bias_hh"], 3)
        r, z = sigmoid(x_r + U_r @ h + c_r), sigmoid(x_z + U_z @ h + c_z)
        n = np.tanh(x_n + U_n @ (r * h) + c_n)
        h_new = (1 - z) * n + z * h
        return (h_new,), (x, h, r, z, n)

    @staticmethod
    def step_backward(w, saved, dstate):
        x, h, r, z, n = saved
        (dh_new,) = dstate
        U_r, U_z, U_n = np.split(w["weight_hh"], 3)
        da_n = dh_new * (1 - z) * (1 - n**2)
        da_z = dh_new * (h - n) * z * (1 - z)
        dreset_h = U_n.T @ da_n
        da_r = dreset_h * h * r * (1 - r)
        da = np.concatenate([da_r, da_z, da_n])
        gradients = {
            "weight_ih": np.outer(da, x),
            "weight_hh": np.concatenate(
                [np.outer(da_r, h), np.outer(da_z, h), np.outer(da_n, r * h)]
            ),
            "bias_ih": da,
            "bias_hh": da,
        }
        dh = dh_new * z + dreset_h * r + U_r.T @ da_r + U_z.T @ da_z
        return w["weight_ih"].T @ da, (dh,), gradients


def _weights(params, layer, direction):
    """One layer's and direction's parameters; a layer without bias has zeros."""
    suffix = f"_l{layer}" + ("_reverse" if direction else "")
    rows = params["weight_hh" + suffix].shape[0]
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return {n: np.asarray(params.get(n + suffix, np.zeros(rows)), np.float64) for n in names}


def _in_order(steps, direction):
    return steps[::-1] if direction else steps


def forward(cell, params, x, state, lengths, num_layers=1, directions=1):
    """x (T, B, I), state: a tuple of (L*D, B, H), lengths (B,) -> y (T, B, D*H), state, tape."""
    T, B, _ = x.shape
    H = state[0].shape[2]
    final = tuple(np.zeros_like(part, dtype=np.float64) for part in state)
    tape = SimpleNamespace(cell=cell, params=params, lengths=lengths, directions=directions)
    tape.inputs, tape.saved = [], {}
    below = np.asarray(x, np.float64)
    for layer in range(num_layers):
        y = np.zeros((T, B, directions * H))
        tape.inputs.append(below)
        for direction in range(directions):
            w = _weights(params, layer, direction)
            row = layer * directions + direction
            half = slice(direction * H, (direction + 1) * H)
            for b in range(B):
                now = tuple(np.asarray(part[row, b], np.float64) for part in state)
                for t in _in_order(range(lengths[b]), direction):
                    now, tape.saved[row, b, t] = cell.step(w, below[t, b], now)
                    y[t, b, half] = now[0]
                for part, value in zip(final, now):
                    part[row, b] = value
        below = y
    return below, final, tape


def backward(tape, dy, dstate):
    """dy like y, dstate like state -> dx, dstate of the initial state, gradients by name."""
    dabove = np.asarray(dy, np.float64)
    dinitial = tuple(np.zeros_like(part, dtype=np.float64) for part in dstate)
    grads = {name: np.zeros(np.shape(value)) for name, value in tape.params.items()}
    H = dstate[0].shape[2]
    for layer in reversed(range(len(tape.inputs))):
        dbelow = np.zeros(tape.inputs[layer].shape)
        for direction in range(tape.directions):
            w = _weights(tape.params, layer, direction)
            suffix = f"_l{layer}" + ("_reverse" if direction else "")
            row = layer * tape.directions + direction
            half = slice(direction * H, (direction + 1) * H)
            for b, length in enumerate(tape.lengths):
                dnow = tuple(np.asarray(part[row, b], np.float64) for part in dstate)
                for t in _in_order(range(length), direction)[::-1]:
                    dnow = (dnow[0] + dabove[t, b, half], *dnow[1:])
                    dx, dnow, dw = tape.cell.step_backward(w, tape.saved[row, b, t], dnow)
                    dbelow[t, b] += dx
                    for name, value in dw.items():
                        if name + suffix in grads:
                            grads[name + suffix] += value
                for part, value in zip(dinitial, dnow):
                    part[row, b] = value
        dabove = dbelow
    return dabove, dinitial, grads
