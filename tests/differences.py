"""Central finite differences."""

import numpy as np

# The error of a central difference is its third derivative by STEP**2 (about 1e-10) and the
# rounding of the two values by 1 / STEP (about 1e-11): nothing finer than this can be told.
STEP, TOLERANCE = 1e-5, 1e-8


def assert_is_gradient(gradient, loss, array, what):
    """`gradient` is that of `loss()` by `array`, whose numbers are moved in place, one by one."""
    differences = np.empty(array.shape)
    for index in np.ndindex(array.shape):
        kept = array[index]
        array[index] = kept + STEP
        above = float(loss())
        array[index] = kept - STEP
        below = float(loss())
        array[index] = kept
        differences[index] = (above - below) / (2 * STEP)
    scale = max(1.0, np.max(np.abs(differences)))
    error = np.max(np.abs(gradient - differences)) / scale
    assert error < TOLERANCE, f"{what}: finite differences disagree by {error:.3g}"


def assert_is_gradient_along(gradient, loss, array, what, directions=2):
    """As `assert_is_gradient`, along a few random directions: for arrays of many numbers."""
    rng, kept = np.random.default_rng(0), array.copy()
    for _ in range(directions):
        way = rng.choice([-1.0, 1.0], array.shape)
        array[...] = kept + STEP * way
        above = float(loss())
        array[...] = kept - STEP * way
        below = float(loss())
        array[...] = kept
        difference, got = (above - below) / (2 * STEP), float((gradient * way).sum())
        error = abs(got - difference) / max(1.0, np.abs(gradient).sum())
        assert error < TOLERANCE, f"{what}: finite differences disagree by {error:.3g}"
