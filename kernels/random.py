"""Random numbers by counting: number k of a seed is a function of both, on every device alike.

SplitMix64 (G. L. Steele, D. Lea and C. H. Flood, "Fast splittable pseudorandom number
generators", 2014): the state after k steps is seed + k gamma, so any number can be had directly.
"""

import numpy as np

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_SHIFT_1, _SHIFT_2, _SHIFT_3 = np.uint64(30), np.uint64(27), np.uint64(31)
_TO_24_BITS = np.uint64(40)


def random_24_bits(seed, k):
    """Number `k` of the sequence of `seed` (both uint64): uniform integers below 2**24."""
    z = seed + k * _GAMMA
    z = (z ^ (z >> _SHIFT_1)) * _MIX_1
    z = (z ^ (z >> _SHIFT_2)) * _MIX_2
    return (z ^ (z >> _SHIFT_3)) >> _TO_24_BITS
