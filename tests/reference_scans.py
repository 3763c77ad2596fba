"""Light recurrences in plain NumPy, step by step, as their papers write them."""

import numpy as np


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def min_gru_step(products, h):
    """Feng et al. 2024, section 3.1: z, then the candidate."""
    z, candidate = np.split(products, 2, -1)
    z = _sigmoid(z)
    return (1 - z) * h + z * candidate


def min_lstm_step(products, h):
    """Feng et al. 2024, section 3.2: f, i, then the candidate."""
    f, i, candidate = np.split(products, 3, -1)
    f, i = _sigmoid(f), _sigmoid(i)
    return f / (f + i) * h + i / (f + i) * candidate


STEPS = {"MinGRU": min_gru_step, "MinLSTM": min_lstm_step}


def run_direction(step, weight, bias, x, h, reverse):
    """One sequence x (T, I) from h (H,) on -> (y (T, H), final h)."""
    y = np.empty((len(x), len(h)))
    for t in range(len(x))[:: -1 if reverse else 1]:
        y[t] = h = step(weight @ x[t] + bias, h)
    return y, h


def run_stack(layer, x, state, lengths):
    """What a light layer should give: (y, state) in float64, each sequence by itself."""
    step, params = STEPS[type(layer).__name__], layer.params
    finals = np.array(state, np.float64)
    for k in range(layer.num_layers):
        y = np.zeros((*x.shape[:2], layer.directions * layer.hidden_size))
        for d, suffix in enumerate(("", "_reverse")[: layer.directions]):
            weight = np.float64(params[f"weight_ih_l{k}{suffix}"])
            bias = np.float64(params.get(f"bias_ih_l{k}{suffix}", np.zeros(len(weight))))
            columns = slice(d * layer.hidden_size, (d + 1) * layer.hidden_size)
            row = k * layer.directions + d
            for b, length in enumerate(lengths):
                y[:length, b, columns], finals[row, b] = run_direction(
                    step, weight, bias, np.float64(x[:length, b]), finals[row, b], d == 1
                )
        x = y
    return x, finals
