"""LSTM variants, layer normalisation, zoneout and recurrent dropout in plain NumPy float64; see
`reference`.

Only forward: the gradients are held against finite differences of the layers themselves.
"""

import numpy as np

from gpurnn.kernels.random import random_24_bits
from tests.reference import LSTM, GRUResetBefore, sigmoid


def _four_sums(w, x, h):
    """W x + b + U h + c of each gate."""
    sums = w["weight_ih"] @ x + w["bias_ih"] + w["weight_hh"] @ h + w["bias_hh"]
    return np.split(sums, len(sums) // len(h))


class Peepholes(LSTM):
    """Gers and Schmidhuber (2000): i and f see the old cell state, o the new one."""

    @staticmethod
    def step(w, x, state):
        h, c = state
        a_i, a_f, a_g, a_o = _four_sums(w, x, h)
        i = sigmoid(a_i + w["weight_ci"] * c)
        f = sigmoid(a_f + w["weight_cf"] * c)
        c_new = f * c + i * np.tanh(a_g)
        o = sigmoid(a_o + w["weight_co"] * c_new)
        return (o * np.tanh(c_new), c_new), None


class CoupledPeepholes(LSTM):
    """The same, with the gates i = 1 - f coupled (CIFG, Greff et al. 2017); gates f g o."""

    gates = 3

    @staticmethod
    def step(w, x, state):
        h, c = state
        a_f, a_g, a_o = _four_sums(w, x, h)
        f = sigmoid(a_f + w["weight_cf"] * c)
        c_new = f * c + (1 - f) * np.tanh(a_g)
        o = sigmoid(a_o + w["weight_co"] * c_new)
        return (o * np.tanh(c_new), c_new), None


def layer_norm(a, gain):
    return gain * (a - a.mean()) / np.sqrt(a.var() + 1e-5)


class _NormalisedProduct:
    """Stands for a weight matrix; its product with a vector comes normalised."""

    def __init__(self, weight, gain):
        self.weight, self.gain = weight, gain

    def __matmul__(self, vector):
        return layer_norm(self.weight @ vector, self.gain)


class Normalised:
    """A cell of `reference`, its two products normalised each apart (Ba et al. 2016)."""

    def __init__(self, cell):
        self.cell = cell

    def step(self, w, x, state):
        products = {
            f"weight_{side}": _NormalisedProduct(w[f"weight_{side}"], w[f"gain_{side}"])
            for side in ("ih", "hh")
        }
        return self.cell.step(w | products, x, state)


class NormalisedGRUResetBefore(GRUResetBefore):
    """The products of r and z with h are normalised together, that of n with r h by itself."""

    @staticmethod
    def step(w, x, state):
        (h,) = state
        early, late = slice(2 * len(h)), slice(2 * len(h), None)
        U, gain, c = w["weight_hh"], w["gain_hh"], w["bias_hh"]
        inputs = layer_norm(w["weight_ih"] @ x, w["gain_ih"]) + w["bias_ih"]
        gates = sigmoid(inputs[early] + layer_norm(U[early] @ h, gain[early]) + c[early])
        r, z = np.split(gates, 2)
        n = np.tanh(inputs[late] + layer_norm(U[late] @ (r * h), gain[late]) + c[late])
        return ((1 - z) * n + z * h,), None


def drawn_masks(rng, rate, shape, value):
    """What a layer draws from `rng`: a share `rate` of zeros, `value` elsewhere."""
    seed = np.uint64(rng.integers(2**63))
    numbers = random_24_bits(seed, np.arange(np.prod(shape), dtype=np.uint64)).reshape(shape)
    return np.where(numbers >= int(rate * 2**24), value, 0.0)


class Noisy:
    """A cell of `reference` or of this file, with the masks of one sequence.

    updates: for each of the first states (T, H), 0 where a unit keeps its old state (Krueger et
    al. 2017). seen: (H,), by what the hidden state is multiplied on its way into the product (Gal
    and Ghahramani 2016), as if the columns of the recurrent weights were.
    """

    def __init__(self, cell, updates, seen):
        self.cell, self.updates, self.seen = cell, updates, seen

    def step(self, w, x, state, t):
        w = w | {"weight_hh": w["weight_hh"] * self.seen}
        made, _ = self.cell.step(w, x, state)
        zoned = [old + u[t] * (new - old) for u, old, new in zip(self.updates, state, made)]
        return (*zoned, *made[len(zoned) :])


def run(cells, w, x, state, lengths, reverse):
    """One layer and direction: x (T, B, I), state a tuple of (B, H), a `Noisy` a sequence.

    Returns y (T, B, H) and the final state.
    """
    (T, B, _), H = x.shape, state[0].shape[1]
    y, final = np.zeros((T, B, H)), [np.zeros((B, H)) for _ in state]
    for b in range(B):
        now = tuple(part[b] for part in state)
        steps = range(lengths[b])
        for t in reversed(steps) if reverse else steps:
            now = cells[b].step(w, x[t, b], now, t)
            y[t, b] = now[0]
        for part, value in zip(final, now):
            part[b] = value
    return y, tuple(final)
