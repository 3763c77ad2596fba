"""No kernel reads or writes past an array: see `guarded`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's mprotect")
@pytest.mark.parametrize("width,cells", [("", ("LSTM", "GRU", "RNN")), ("16", ("LSTM",))])
def test_nothing_past_an_array_is_touched(width, cells):
    result = subprocess.run(
        [sys.executable, "-m", "tests.guarded", *cells],
        cwd=ROOT,
        env={**os.environ, "GPURNN_VECTOR_BYTES": width},
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert result.stdout.strip() == "untouched", result.stderr[-2000:]


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's mprotect")
def test_the_walls_are_there():
    """Or the test above would pass whatever kernels do."""
    script = """
import numpy as np
from tests.guarded import guarded
a = guarded(np.zeros(3, np.float32))
a.sum()
np.lib.stride_tricks.as_strided(a, (4,)).sum()
"""
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, timeout=120
    )
    assert result.returncode < 0
