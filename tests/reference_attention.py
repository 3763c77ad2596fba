"""Attention in plain NumPy float64, sequence by sequence, query by query."""

import numpy as np


def scores(kind, params, q, k):
    """Of one query (Q,) and one sequence's keys (Tk, K) -> (Tk,)."""
    if kind == "additive":
        sums = params["weight_query"] @ q + k @ params["weight_key"].T
        return np.tanh(sums) @ params["weight_score"]
    if kind == "general":
        return k @ (params["weight"].T @ q)
    return k @ q


def attend(kind, params, query, keys, lengths):
    """query (Tq, B, Q), keys (Tk, B, K) -> context (Tq, B, K), weights (Tq, B, Tk)."""
    params = {name: np.asarray(a, np.float64) for name, a in params.items()}
    query, keys = np.asarray(query, np.float64), np.asarray(keys, np.float64)
    context = np.zeros((*query.shape[:2], keys.shape[2]))
    weights = np.zeros((*query.shape[:2], len(keys)))
    for i, b in np.ndindex(query.shape[:2]):
        own = keys[: lengths[b], b]
        e = scores(kind, params, query[i, b], own)
        odds = np.exp(e - e.max())
        weights[i, b, : lengths[b]] = odds / odds.sum()
        context[i, b] = weights[i, b, : lengths[b]] @ own
    return context, weights
