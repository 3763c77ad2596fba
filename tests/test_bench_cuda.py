"""The benches of CUDA's kernels run, and say what they say they do."""

import pytest

import gpurnn
from bench import cuda_accesses, cuda_host
from gpurnn.cells import GRU_RESET_BEFORE, LSTM, RNN_TANH


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


@pytest.mark.cuda
@pytest.mark.skipif(not cuda_accesses.ON_EMULATOR, reason="counters are the emulated device's")
@pytest.mark.parametrize("cell", [LSTM, GRU_RESET_BEFORE], ids=lambda cell: cell.name)
def test_persistent_kernels_read_their_weights_once(cell):
    hidden = 40
    weights = 4 * cell.gates * hidden * hidden
    found = cuda_accesses.reads(cell, 1, hidden)
    assert len(found) == 2, "forward and backward"
    for once, a_step in found.values():
        assert once >= weights and a_step < weights / 2


@pytest.mark.cuda
@pytest.mark.skipif(not cuda_accesses.ON_EMULATOR, reason="counters are the emulated device's")
@pytest.mark.parametrize("schedule", ["stepwise", "persistent"])
def test_accesses_are_coalesced_and_meet_in_no_bank(schedule):
    for launch in cuda_accesses.launches(GRU_RESET_BEFORE, 16, 96, schedule).values():
        assert min(cuda_accesses.shares(launch)) >= 0.9, launch["kernel"]
