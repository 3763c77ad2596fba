"""Sums and largest numbers over the lanes of a warp, in a fixed order."""

from .device import cuda, inlined

WARP = 32
_ALL = 0xFFFFFFFF


@inlined
def warp_sum(value):
    """The sum over all lanes, in each of them; all must call it."""
    offset = WARP // 2
    while offset:
        value += cuda.shfl_xor_sync(_ALL, value, offset)
        offset //= 2
    return value


@inlined
def warp_max(value):
    """The largest over all lanes, in each of them; all must call it."""
    offset = WARP // 2
    while offset:
        value = max(value, cuda.shfl_xor_sync(_ALL, value, offset))
        offset //= 2
    return value
