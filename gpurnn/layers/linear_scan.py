"""The scan that the light recurrent layers are made of, for recurrences of one's own."""

from ..arrays import FLOATS, adopt, check_array, device_of, kernels_of, module_of
from ..kernels.cells.scans import GIVEN
from ..kernels.matrices import rows_of


def linear_scan(a, b, h0=None, reverse=False):
    """h_t = a_t h_{t-1} + b_t, number by number.

    Parameters
    ----------
    a, b : arrays (T, B, H), float32 or float64
    h0 : array (B, H), what comes before the first step; None stands for zeros
    reverse : bool
        Begin at the last step: h_t = a_t h_{t+1} + b_t.

    Returns
    -------
    h : array (T, B, H)
    backward : callable
        ``backward(dh) -> da, db, dh0``: from the gradient by `h` those by the arguments. `a` and
        `h` must not have changed.

    Raises
    ------
    TypeError, ValueError
        If dtypes, devices or shapes do not fit, or an array is empty.
    """
    a = adopt(a, "a")
    device, dtype, shape = device_of(a), a.dtype, a.shape
    if dtype not in FLOATS:
        raise TypeError(f"a: expected float32 or float64, got {dtype}")
    if a.ndim != 3 or a.size == 0:
        raise ValueError(f"a: expected (T, B, H), none of them 0, got {shape}")
    xp, kernels = module_of(device), kernels_of(device)
    a, b = (check_array(v, name, device, dtype, shape) for v, name in ((a, "a"), (b, "b")))
    (steps, batch, hidden), reverse = shape, bool(reverse)
    if h0 is None:
        h0 = xp.zeros((batch, hidden), dtype)
    h0 = check_array(h0, "h0", device, dtype, (batch, hidden))
    read, ends = (rows_of(a, 0), rows_of(b, 0)), xp.full(batch, steps)
    h = kernels.empty(a.shape, dtype)
    kernels.scan_forward(GIVEN, read, ends, reverse, h0.copy(), h, 0)

    def backward(dh):
        dh = check_array(dh, "dh", device, dtype, shape)
        da, db = (kernels.empty(a.shape, dtype) for _ in range(2))
        dh0 = xp.zeros_like(h0)
        dread = rows_of(da, 0), rows_of(db, 0)
        kernels.scan_backward(GIVEN, read, dread, ends, reverse, h0, dh0, h, dh, 0)
        return da, db, dh0

    return h, backward
