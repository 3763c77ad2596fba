"""The benches of CUDA's kernels run, and say what they say they do."""

import pytest

import gpurnn
from bench import cuda_host
from gpurnn.cells import RNN_TANH


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
    x = cupy.ones((5, 2, 3), "float32")
    assert layer(x)[0].any()
    with cuda_host.nothing_runs(), cupy.cuda.using_allocator(cupy.cuda.MemoryPool().malloc):
        y = cupy.zeros((5, 2, 4), "float32")
        layer._recurrence(0).forward(
            layer._weights(0, 0), x, cupy.zeros((1, 2, 4), "float32"), None, False, y, 0, False
        )
        assert not y.any()
