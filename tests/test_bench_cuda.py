"""The benches of CUDA's kernels run, and say what they say they do."""

import subprocess
import sys

import pytest

import gpurnn
from bench import cuda_accesses, cuda_host
from gpurnn.cells import RNN_TANH
from tests.test_bench import ROOT, run


@pytest.mark.cuda
def test_host_time_has_all_its_parts(capsys):
    assert cuda_host.main(["--cell", "rnn_tanh"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if "rnn_tanh" in line]
    assert {row[1] for row in rows} == {"stepwise", "persistent"}
    assert {row[2] for row in rows} == {"call", "forward", "backward", "step"}
    for row in rows:
        assert len(row) == 5 + len(cuda_host.PARTS) and float(row[3]) > 0
    assert gpurnn.cuda.schedule() == "auto"


@pytest.mark.cuda
def test_no_kernel_runs_while_host_time_is_measured():
    import cupy

    layer = gpurnn.Recurrent(RNN_TANH, 3, 4, device="cuda", rng=0)
    out = cupy.zeros((2, 4), "float32")
    step, x = layer.stream(batch_size=2).step, cupy.ones((2, 3), "float32")
    with cuda_host.nothing_runs():
        step(x, out)
        assert not out.any()
    assert step(x, out).any()


counted = pytest.mark.skipif(
    not cuda_accesses.ON_EMULATOR, reason="counters are the emulated device's"
)


def assert_good(rows):
    """Of global memory 90 % or more was asked for; no pass of shared memory was in vain."""
    for row in rows:
        asked, *shared = (float(share.rstrip("%")) for share in row[-3:])
        assert asked >= 90 and min(shared) == 100, row


@pytest.mark.cuda
@counted
@pytest.mark.parametrize("cell", ["lstm", "gru_before"])
def test_accesses_are_coalesced_meet_in_no_bank_and_read_weights_once(cell):
    """In a process of its own: only kernels loaded for it are counted."""
    done = run("bench.cuda_static", "--cell", cell, "--shape", "1,64")
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith(cell)]
    schedules = {"stepwise", "persistent"} | ({"3"} if cell == "lstm" else set())
    accesses = [row for row in rows if row[1] in schedules]
    assert {row[1] for row in accesses} == schedules
    assert_good(accesses)
    reads = [row for row in rows if row[1].startswith("persistent_")]
    assert len(reads) == 2 * (len(schedules) - 1), "forward and backward"
    for _, kernel, _, weights, once, a_step in reads:
        assert float(once) >= float(weights) and float(a_step) < float(weights) / 2, kernel


@pytest.mark.cuda
@counted
def test_kernels_around_the_steps_are_coalesced_and_meet_in_no_bank():
    """In a process of its own, as above."""
    names = ("LSTM projected", "GRU normalised", "MinGRU")
    code = f"from bench import cuda_accesses; cuda_accesses.print_layers({names})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith(names)]
    kernels = {kernel for *_, kernel, _, _, _ in rows}
    for module in ("project_", "normalisation.", "scan."):
        assert any(kernel.startswith(module) for kernel in kernels), kernels
    assert_good(rows)
