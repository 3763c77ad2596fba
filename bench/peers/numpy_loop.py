"""What people write by hand: a loop over the steps in NumPy, input products ahead of it."""

import numpy as np

from bench.prepared import Prepared

NAME = "numpy"
MODES = ("inference", "stream")


def absent(device):
    return None if device == "cpu" else "runs on the CPU only"


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def rnn(inputs, recurrent, state):
    return (np.tanh(inputs + recurrent),)


def lstm(inputs, recurrent, state):
    i, f, g, o = np.split(inputs + recurrent, 4, axis=1)
    c = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru(inputs, recurrent, state):
    x_r, x_z, x_n = np.split(inputs, 3, axis=1)
    h_r, h_z, h_n = np.split(recurrent, 3, axis=1)
    z = sigmoid(x_z + h_z)
    n = np.tanh(x_n + sigmoid(x_r + h_r) * h_n)
    return (n + z * (state[0] - n),)


STEPS = {"rnn": rnn, "lstm": lstm, "gru": gru}


def prepare(case, mode, device, threads):
    weights, x, _ = case.numbers()
    w_ih, w_hh, b_ih, b_hh = weights.values()
    w_ih, w_hh = w_ih.T, w_hh.T
    step = STEPS[case.cell]
    zeros = np.zeros((2 if case.cell == "lstm" else 1, case.B, case.H), np.float32)

    def inference():
        inputs = (x.reshape(-1, case.I) @ w_ih + b_ih).reshape(case.T, case.B, case.rows)
        y = np.empty((case.T, case.B, case.H), np.float32)
        state = zeros
        for t in range(case.T):
            state = step(inputs[t], state[0] @ w_hh + b_hh, state)
            y[t] = state[0]
        return (y,)

    state = zeros

    def stream():
        nonlocal state
        state = step(x[0] @ w_ih + b_ih, state[0] @ w_hh + b_hh, state)
        return (state[0],)

    return Prepared({"inference": inference, "stream": stream}[mode], np.asarray)
