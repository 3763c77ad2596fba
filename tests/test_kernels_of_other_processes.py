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

import gpurnn
from tests.cases import Problem, as_state, assert_close, make_layer, random_numbers

ROOT = Path(__file__).parent.parent


def infer(cell):
    problem = Problem(cell)
    numbers = random_numbers(problem)
    y, _ = make_layer(problem, numbers.params)(numbers.x, as_state(numbers.state))
    assert_close(y, numbers.reference(problem)[0], "float32", f"{cell}'s y")


def train():
    """By kernels of few rows, of few sequences, and of more."""
    for T, B in ((3, 1), (7, 3), (5, 4)):
        layer = gpurnn.RNN(4, 6, rng=0)
        y, _, backward = layer.forward(np.ones((T, B, 4), np.float32))
        backward(y)


def call_in_a_new_process(calls, cache):
    """Make calls of this module's functions; returns which kernels the process compiled."""
    before = {file: file.stat().st_mtime_ns for file in cache.iterdir()}
    program = f"from tests.test_kernels_of_other_processes import infer, train\n{calls}"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "GPURNN_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return [file for file in cache.iterdir() if file.stat().st_mtime_ns != before.get(file)]


def test_kernels_do_not_meet(tmp_path):
    """All compiled, one compiled and one loaded, both loaded, in the other order."""
    lstm, rnn = "infer('lstm')\n", "infer('rnn_tanh')\n"
    for calls, compiles in (
        (lstm, True),
        (rnn + lstm, True),
        (rnn + lstm, False),
        (lstm + rnn, False),
    ):
        assert bool(call_in_a_new_process(calls, tmp_path)) == compiles, calls


def test_a_second_process_compiles_nothing(tmp_path):
    assert call_in_a_new_process("train()", tmp_path)
    assert call_in_a_new_process("train()", tmp_path) == []


@pytest.mark.cuda
def test_machine_code_is_of_the_very_text(monkeypatch):
    """Two processes that compile a kernel at once name it differently, and both keep it."""
    from gpurnn.kernels.cuda.launching import Kernel
    from gpurnn.kernels.cuda.preparing import valid_kernel

    kernel, ptx = valid_kernel(np.dtype("float64")), Kernel.ptx
    kernel._load(0)
    monkeypatch.setattr(Kernel, "ptx", lambda *at: re.sub(r"(?<=\.entry )\w", "other_", ptx(*at)))
    kernel._load(0)
