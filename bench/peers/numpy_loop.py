"""What people write by hand: a loop over the steps in NumPy, input products ahead of it."""

import numpy as np

from bench.prepared import Prepared

NAME = "numpy"


def absent(device):
    return None if device == "cpu" else "runs on the CPU only"


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def rnn(inputs, w_hh, b_hh, y):
    h = np.zeros_like(y[0])
    for t in range(len(y)):
        h = y[t] = np.tanh(inputs[t] + h @ w_hh + b_hh)


def lstm(inputs, w_hh, b_hh, y):
    h = c = np.zeros_like(y[0])
    for t in range(len(y)):
        i, f, g, o = np.split(inputs[t] + h @ w_hh + b_hh, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = y[t] = sigmoid(o) * np.tanh(c)


def gru(inputs, w_hh, b_hh, y):
    h = np.zeros_like(y[0])
    for t in range(len(y)):
        x_r, x_z, x_n = np.split(inputs[t], 3, axis=1)
        h_r, h_z, h_n = np.split(h @ w_hh + b_hh, 3, axis=1)
        z = sigmoid(x_z + h_z)
        n = np.tanh(x_n + sigmoid(x_r + h_r) * h_n)
        h = y[t] = n + z * (h - n)


LOOPS = {"rnn": rnn, "lstm": lstm, "gru": gru}


def prepare(case, device, threads):
    weights, x, _ = case.numbers()
    w_ih, w_hh, b_ih, b_hh = weights.values()
    w_ih, w_hh = w_ih.T, w_hh.T

    def inference():
        inputs = (x.reshape(-1, case.I) @ w_ih + b_ih).reshape(case.T, case.B, case.rows)
        y = np.empty((case.T, case.B, case.H), np.float32)
        LOOPS[case.cell](inputs, w_hh, b_hh, y)
        return (y,)

    return Prepared({"inference": inference}, np.asarray)
