"""Choosing the next symbol from a model's logits."""

import numpy as np


class Sampler:
    """Draws an index from logits.

    temperature: divides the logits; 0 takes the likeliest.
    top_k: only the k likeliest may be drawn (None: all).
    top_p: only the likeliest that together have at least this probability may be drawn, after
    `top_k` (None: all). Source: Holtzman et al. (2020).
    rng: None, an integer or a NumPy generator; the same seed draws the same.
    """

    def __init__(self, temperature=1.0, top_k=None, top_p=None, rng=None):
        if not 0 <= temperature < np.inf:
            raise ValueError(f"temperature: expected a number from 0 on, got {temperature!r}")
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k: expected at least 1, got {top_k!r}")
        if top_p is not None and not 0 < top_p <= 1:
            raise ValueError(f"top_p: expected a number above 0 and up to 1, got {top_p!r}")
        self.temperature = temperature
        self.top_k = top_k
        self.top_p = top_p
        self.rng = np.random.default_rng(rng)

    def __call__(self, logits):
        """An index into `logits`, a NumPy array (V,)."""
        logits = logits.astype(np.float64)
        if self.temperature == 0:
            return int(np.argmax(logits))
        order = np.argsort(-logits, kind="stable")[: self.top_k]
        with np.errstate(over="ignore"):  # a tiny temperature sends all but the best to -inf
            likelihood = np.exp((logits[order] - logits[order[0]]) / self.temperature)
        total = np.cumsum(likelihood)
        if self.top_p is not None:
            kept = 1 + np.searchsorted(total, self.top_p * total[-1])
            total = total[:kept]
        drawn = np.searchsorted(total, self.rng.random() * total[-1], side="right")
        return int(order[min(drawn, len(total) - 1)])
