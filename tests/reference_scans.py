"""Light recurrences in plain NumPy, step by step, as their papers write them."""

import numpy as np


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def min_gru_step(products, h, x, own):
    """Feng et al. 2024, section 3.1: z, then the candidate."""
    z, candidate = products
    z = _sigmoid(z)
    h = (1 - z) * h + z * candidate
    return h, h


def min_lstm_step(products, h, x, own):
    """Feng et al. 2024, section 3.2: f, i, then the candidate."""
    f, i, candidate = products
    f, i = _sigmoid(f), _sigmoid(i)
    h = f / (f + i) * h + i / (f + i) * candidate
    return h, h


def qrnn_step(products, c, x, own):
    """Bradbury et al. 2017, equations 3 to 5, by how many gates there are."""
    z, f, *others = products
    z, f, others = np.tanh(z), _sigmoid(f), [_sigmoid(gate) for gate in others]
    i = others[1] if len(others) == 2 else 1 - f
    c = f * c + i * z
    return c, others[0] * c if others else c


def sru_step(products, c, x, own):
    """Lei et al. 2018, equations 1 to 4, by the authors' code where sizes differ."""
    v, f, r, *s = products
    f, r = _sigmoid(f + own.get("weight_cf", 0) * c), _sigmoid(r + own.get("weight_cr", 0) * c)
    c = f * c + (1 - f) * v
    return c, r * c + (1 - r) * (s[0] if s else x)


STEPS = {"MinGRU": min_gru_step, "MinLSTM": min_lstm_step, "QRNN": qrnn_step, "SRU": sru_step}


def run_direction(step, params, x, state, columns, reverse):
    """One sequence x (T, I) from the states (S, H) on -> (y (T, H), final states).

    The states are the step's own, then those products to come of which a part is known.
    """
    (c, *pending), (steps, inputs) = state, x.shape
    hidden, weight = len(c), params["weight_ih"]
    lags = weight.reshape(len(weight), -1, inputs).swapaxes(0, 1)
    pending = np.reshape(pending, (len(lags) - 1, len(weight)))
    y = np.empty((steps, hidden))
    for t in range(steps)[:: -1 if reverse else 1]:
        products = [lag @ x[t] for lag in lags]
        for known, due in zip(products, pending):
            known += due
        now, *pending = products
        gates = np.split(now + params.get("bias_ih", 0), len(now) // hidden)
        c, y[t] = step(gates, c, x[t, columns], params)
    return y, np.concatenate([c[None], np.reshape(pending, (-1, hidden))])


def run_stack(layer, x, state, lengths):
    """What a light layer should give: (y, state) in float64, each sequence by itself."""
    step, several = STEPS[type(layer).__name__], isinstance(state, tuple)
    finals = np.array(state if several else [state], np.float64)
    for k in range(layer.num_layers):
        y = np.zeros((*x.shape[:2], layer.directions * layer.hidden_size))
        for d, suffix in enumerate(("", "_reverse")[: layer.directions]):
            ending = f"_l{k}{suffix}"
            params = {
                name.removesuffix(ending): np.float64(value)
                for name, value in layer.params.items()
                if name.endswith(ending)
            }
            columns = slice(d * layer.hidden_size, (d + 1) * layer.hidden_size)
            row = k * layer.directions + d
            for b, length in enumerate(lengths):
                y[:length, b, columns], finals[:, row, b] = run_direction(
                    step, params, np.float64(x[:length, b]), finals[:, row, b], columns, d == 1
                )
        x = y
    return x, tuple(finals) if several else finals[0]
