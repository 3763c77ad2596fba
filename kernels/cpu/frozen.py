"""Weights that no longer change: packed when they are first used, and kept so."""

from .workspace import aligned_copy


class FrozenWeights(tuple):
    """A tuple of weights; `panels` are what they were packed into, by what for."""

    def __init__(self, weights):
        self.panels = {}

    def __reduce__(self):
        """Copies pack their own, for the vectors of the machine that they are on."""
        return FrozenWeights, (tuple(self),)


def freeze(weights):
    """A copy of a tuple of weights, some of which may be None."""
    return FrozenWeights([w if w is None else aligned_copy(w) for w in weights])


def packed(weights, use, pack):
    """The panels that pack() returns; of frozen weights those of the first time."""
    if not isinstance(weights, FrozenWeights):
        return pack()
    if use not in weights.panels:
        weights.panels.setdefault(use, pack())  # another thread may have been quicker
    return weights.panels[use]
