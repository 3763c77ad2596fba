"""`ScanRecurrence` on CUDA."""

from functools import partial
from types import SimpleNamespace

import cupy

from .. import scan_recurrence
from .linear import linear_backward, linear_forward
from .scan import scan_backward, scan_forward

_TOOLS = SimpleNamespace(
    xp=cupy,
    linear_forward=linear_forward,
    linear_backward=linear_backward,
    scan_forward=scan_forward,
    scan_backward=scan_backward,
)

ScanRecurrence = partial(scan_recurrence.ScanRecurrence, _TOOLS)
