"""Every CUDA kernel compiles to PTX, for each generation of GPUs, where there is no GPU at all."""

import re

import numpy as np
import pytest

from gpurnn import cells

pytest.importorskip("cupy", reason="CUDA kernels need CuPy")
pytest.importorskip("numba_cuda", reason="CUDA kernels are compiled by numba-cuda")

from gpurnn.kernels.cuda import catalogue, device  # noqa: E402

FLOAT32, FLOAT64 = np.dtype("float32"), np.dtype("float64")
CELLS = [
    cells.RNN_TANH,
    cells.RNN_RELU,
    cells.LSTM,
    cells.GRU_RESET_AFTER,
    cells.GRU_RESET_BEFORE,
]
FAMILIES = [*CELLS, None]


def kernels(cell, dtype):
    return catalogue.cell_kernels(cell, dtype) if cell else catalogue.other_kernels(dtype)


def name(cell):
    return cell.name if cell else "others"


@pytest.fixture(autouse=True)
def compiler():
    reason = device.why_not()
    if reason:
        pytest.skip(reason)


@pytest.mark.parametrize("capability", [(7, 5), (8, 0), (9, 0), (10, 0)], ids=str)
@pytest.mark.parametrize("cell", FAMILIES, ids=name)
def test_float32_kernels_compile_for_every_generation(cell, capability):
    target = f"sm_{capability[0]}{capability[1]}"
    for kernel in kernels(cell, FLOAT32):
        assert f".target {target}" in kernel.ptx(capability), kernel.identity


@pytest.mark.parametrize("cell", FAMILIES, ids=name)
def test_float64_kernels_compile(cell):
    for kernel in kernels(cell, FLOAT64):
        assert ".visible .entry" in kernel.ptx((9, 0)), kernel.identity


@pytest.mark.parametrize("cell", FAMILIES, ids=name)
def test_float32_kernels_compute_nothing_in_float64(cell):
    # A literal number in a formula would do that, unnoticed but for the time.
    for kernel in kernels(cell, FLOAT32):
        assert not re.findall(r"^\s+\w.*\.f64.*$", kernel.ptx((9, 0)), re.M), kernel.identity


@pytest.mark.parametrize("cell", FAMILIES, ids=name)
def test_kernels_keep_their_tuples_in_registers(cell):
    for kernel in kernels(cell, FLOAT32):
        assert ".local" not in kernel.ptx((9, 0)), kernel.identity


def test_catalogue_names_every_map():
    from types import FunctionType

    from gpurnn.kernels import activations, loss_maps, maps

    written_here = {
        f
        for module in (maps, loss_maps, activations)
        for f in vars(module).values()
        if isinstance(f, FunctionType) and f.__module__ == module.__name__
    }
    assert written_here == set(catalogue._MAPS)
