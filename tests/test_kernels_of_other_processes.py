"""Kernels compiled by one process, loaded by another beside kernels of its own.

Numba names what it compiles by a function's name, its argument types and a number that counts
up in each process. Closures share names; if their numbers meet too, the linker takes the one for
the other, and a layer quietly computes nonsense.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.cases import Problem, as_state, assert_close, make_layer, random_numbers

ROOT = Path(__file__).parent.parent


def infer(cell):
    problem = Problem(cell)
    numbers = random_numbers(problem)
    y, _ = make_layer(problem, numbers.params)(numbers.x, as_state(numbers.state))
    assert_close(y, numbers.reference(problem)[0], "float32", f"{cell}'s y")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("kernels")


@pytest.mark.parametrize(
    "cells",
    ["lstm", "rnn_tanh lstm", "rnn_tanh lstm", "lstm rnn_tanh"],
    ids=["the first process", "one compiled and one loaded", "both loaded", "the other order"],
)
def test_kernels_do_not_meet(cells, cache):
    program = "import sys\nfrom tests.test_kernels_of_other_processes import infer\n"
    program += "for cell in sys.argv[1].split():\n    infer(cell)"
    done = subprocess.run(
        [sys.executable, "-c", program, cells],
        cwd=ROOT,
        env={**os.environ, "GPURNN_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.cuda
def test_machine_code_is_of_the_very_text(monkeypatch):
    """Two processes that compile a kernel at once name it differently, and both keep it."""
    from gpurnn.kernels.cuda.launching import Kernel
    from gpurnn.kernels.cuda.preparing import valid_kernel

    kernel, ptx = valid_kernel(np.dtype("float64")), Kernel.ptx
    kernel._load(0)
    monkeypatch.setattr(Kernel, "ptx", lambda *at: re.sub(r"(?<=\.entry )\w", "other_", ptx(*at)))
    kernel._load(0)
