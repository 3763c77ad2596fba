"""Real-time recurrent learning in plain NumPy: the whole influence as one matrix a sequence.

Its rows are the numbers of all states, its columns those of all parameters. A step's Jacobians
are rows of the reference cells' `step_backward`, one for each number of the state.
"""

import numpy as np

NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def _flat(arrays):
    return np.concatenate([np.ravel(a) for a in arrays])


def _jacobians(cell, w, x, state):
    """(new state, d new / d old state, d new state / d parameters, d new / d old of one unit)."""
    new, saved = cell.step(w, x, state)
    count, hidden = len(state), state[0].size
    without = w | {"weight_hh": np.zeros_like(w["weight_hh"])}
    transition, immediate, direct = [], [], []
    for row in np.eye(count * hidden):
        _, dstate, dw = cell.step_backward(w, saved, tuple(row.reshape(count, hidden)))
        transition.append(_flat(dstate))
        immediate.append(_flat([dw[name] for name in NAMES]))
        direct.append(
            _flat(cell.step_backward(without, saved, tuple(row.reshape(count, hidden)))[1])
        )
    return new, np.array(transition), np.array(immediate), np.array(direct)


def gradients(cell, params, x, state, dy, method):
    """Sum over all steps of dy by what the method has for d y / d parameter; name -> array.

    x (T, B, I), state: a tuple of (1, B, H), dy (T, B, H).
    """
    T, B, _ = x.shape
    H, S = state[0].shape[2], len(state)
    rows = cell.gates * H
    w = {n: np.asarray(params.get(f"{n}_l0", np.zeros(rows)), np.float64) for n in NAMES}
    unit_of_column = _flat([np.arange(w[n].size) // (w[n].size // rows) % H for n in NAMES])
    own = np.tile(np.arange(H), S)[:, None] == unit_of_column
    total = np.zeros(own.shape[1])
    for b in range(B):
        now = tuple(part[0, b] for part in state)
        influence = np.zeros(own.shape)
        for t in range(T):
            now, transition, immediate, direct = _jacobians(cell, w, x[t, b], now)
            through = direct if method == "rflo" else transition
            influence = through @ influence + immediate
            if method != "exact":
                influence = influence * own
            total += dy[t, b] @ influence[:H]
    ends = np.cumsum([w[n].size for n in NAMES])
    parts = np.split(total, ends[:-1])
    return {f"{n}_l0": p.reshape(w[n].shape) for n, p in zip(NAMES, parts) if f"{n}_l0" in params}
