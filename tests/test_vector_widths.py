"""The CPU's kernels with vectors of other widths than the host would choose."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gpurnn
from gpurnn.kernels.cpu.simd import REGISTER_BYTES
from tests.cases import Problem, random_numbers
from tests.test_properties import train_all

WIDTHS = {16, 32, 64} - {REGISTER_BYTES}


def run():
    """The width of vectors here, and what outputs and gradients by the inputs sum up to.

    Last those of int8 weights, for which AVX-512 has instructions of its own.
    """
    sums = []
    for cell, batch in (("lstm", 5), ("gru_before", 1)):  # by sequences, by units
        problem = Problem(cell, B=batch)
        _, y, _, dx, _ = train_all(problem, random_numbers(problem))
        sums += [float(np.square(y).sum()), float(np.square(dx).sum())]
    x = np.random.default_rng(0).standard_normal((3, 1, 13), np.float32)
    y, _ = gpurnn.GRU(13, 37, rng=0).reduced("int8")(x)
    return REGISTER_BYTES, [*sums, float(np.square(y).sum())]


@pytest.mark.parametrize("width", sorted(WIDTHS))
def test_every_width_gives_the_same(width):
    program = "import json; from tests.test_vector_widths import run; print(json.dumps(run()))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "GPURNN_VECTOR_BYTES": str(width)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    got_width, sums = json.loads(done.stdout)
    assert got_width == width
    *plain, reduced = run()[1]
    assert sums[:-1] == pytest.approx(plain, rel=1e-5)  # float32 sums in another order
    assert sums[-1] == pytest.approx(reduced, rel=1e-4)  # inputs rounded to 16 bits, or not
