"""Where a cell's extras lie: the same for both devices.

An extra is an array (H,), (B, H) or (T, B, H). Kernels read each as a triple (array, numbers from
step to step, numbers from sequence to sequence), in which what does not change has a stride of 0.
"""


def strides_of(extra):
    """(numbers from step to step, numbers from sequence to sequence) of a contiguous array."""
    sequence = extra.shape[-1] if extra.ndim > 1 else 0
    return (extra.shape[1] * sequence if extra.ndim > 2 else 0), sequence


def of_segment(extras, segment):
    """The extras of some steps, a slice."""
    return tuple(extra[segment] if extra.ndim > 2 else extra for extra in extras)
