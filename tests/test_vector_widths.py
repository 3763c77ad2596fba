"""The CPU's kernels with vectors of other widths than the host would choose."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import numpy as np
from tests.cases import Problem, make_layer, random_numbers
from tests.test_properties import train_all
from gpurnn.kernels.cpu import simd
for cell, batch in (("lstm", 5), ("gru_before", 1)):  # by sequences, by units
    problem = Problem(cell, B=batch)
    _, y, _, dx, _ = train_all(problem, random_numbers(problem))
    print(simd.REGISTER_BYTES, float(np.square(y).sum()), float(np.square(dx).sum()))
"""


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return run({}, tmp_path_factory.mktemp("host"))


def run(environment, cache):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "GPURNN_CACHE_DIR": str(cache), **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return [[float(number) for number in line.split()] for line in done.stdout.splitlines()]


@pytest.mark.parametrize("width", [16, 32, 64])
def test_every_width_gives_the_same(width, expected, tmp_path):
    got = run({"GPURNN_VECTOR_BYTES": str(width)}, tmp_path)
    assert [line[0] for line in got] == [width] * 2
    for here, there in zip(got, expected):
        assert here[1:] == pytest.approx(there[1:], rel=1e-5)  # float32 sums in another order
