"""Every CUDA kernel compiles to PTX, for each generation of GPUs, where there is no GPU at all."""

import inspect
import re
from importlib import import_module
from pkgutil import iter_modules

import numpy as np
import pytest

from bench import cuda_static
from gpurnn import cells

pytest.importorskip("cupy", reason="CUDA kernels need CuPy")
pytest.importorskip("numba_cuda", reason="CUDA kernels are compiled by numba-cuda")

from gpurnn.kernels import cuda  # noqa: E402
from gpurnn.kernels.cells import qrnn, scans, sru  # noqa: E402
from gpurnn.kernels.cuda import catalogue, device  # noqa: E402
from gpurnn.kernels.cuda.choosing import MOST_LAYERS  # noqa: E402
from gpurnn.kernels.cuda.persistent import backward_kernel, forward_kernel  # noqa: E402
from gpurnn.kernels.cuda.persistent_tiles import tile_heights  # noqa: E402

FLOAT16, FLOAT32, FLOAT64 = map(np.dtype, ("float16", "float32", "float64"))
CELLS = [
    cells.RNN_TANH,
    cells.RNN_RELU,
    cells.LSTM,
    cells.GRU_RESET_AFTER,
    cells.GRU_RESET_BEFORE,
]
TREE_CELLS = [cells.TREE_TANH, cells.TREE_RELU, cells.TREE_LSTM]
FAMILIES = [*CELLS, *TREE_CELLS, scans.MIN_GRU, None]
WITH_EXTRAS, NORMALISED = (cuda_static.VARIANTS[name] for name in ("lstm_extras", "gru_norm"))
# Of the other light recurrences those that are made of all their functions.
SCANS = [scans.MIN_LSTM, qrnn.POOLINGS["fo"], qrnn.POOLINGS["ifo"], sru.SRU_PEEPHOLES]


def kernels(cell, dtype):
    if isinstance(cell, cells.TreeCell):
        return catalogue.tree_kernels(cell, dtype)
    if isinstance(cell, scans.ScanCell | scans.LinearCell):
        return catalogue.scan_kernels(cell, dtype)
    return catalogue.cell_kernels(cell, dtype) if cell else catalogue.other_kernels(dtype)


def name(cell):
    return cell.name if cell else "others"


@pytest.fixture(autouse=True)
def compiler():
    reason = device.why_not()
    if reason:
        pytest.skip(reason)


# Those of 9.0 are compiled for the tests below. The oldest lack most; of the newer ones a few tell.
@pytest.mark.parametrize(
    ("cell", "capability"),
    [*((cell, (7, 5)) for cell in FAMILIES), (cells.LSTM, (8, 0)), (cells.LSTM, (10, 0))],
    ids=lambda value: str(value) if isinstance(value, tuple) else name(value),
)
def test_float32_kernels_compile_for_every_generation(cell, capability):
    target = f"sm_{capability[0]}{capability[1]}"
    for kernel in kernels(cell, FLOAT32):
        assert f".target {target}" in kernel.ptx(capability), kernel.identity


@pytest.mark.parametrize("cell", FAMILIES, ids=name)
def test_float64_kernels_compile(cell):
    for kernel in kernels(cell, FLOAT64):
        assert ".visible .entry" in kernel.ptx((9, 0)), kernel.identity


@pytest.mark.parametrize("cell", [*FAMILIES, *SCANS, WITH_EXTRAS, NORMALISED], ids=name)
def test_float32_kernels_compute_nothing_in_float64(cell):
    # A literal number in a formula would do that, unnoticed but for the time.
    for kernel in kernels(cell, FLOAT32):
        assert not re.findall(r"^\s+\w.*\.f64.*$", kernel.ptx((9, 0)), re.M), kernel.identity


@pytest.mark.parametrize("cell", [*FAMILIES, *SCANS], ids=name)
def test_kernels_keep_their_tuples_in_registers(cell):
    for kernel in kernels(cell, FLOAT32):
        assert ".local" not in kernel.ptx((9, 0)), kernel.identity


def tallest(cell, dtype, capability, layers=1):
    """The persistent kernels forward and backward with the largest tiles, which hold the most."""
    height = tile_heights(dtype, capability, cell.late, layers=layers)[-1]
    return [kernel(cell, height, dtype, layers) for kernel in (forward_kernel, backward_kernel)]


@pytest.mark.parametrize(
    "cell",
    [cells.RNN_TANH, cells.LSTM, cells.GRU_RESET_AFTER, cells.GRU_RESET_BEFORE],
    ids=name,
)
def test_persistent_kernels_compile_and_keep_their_tiles_in_registers(cell):
    for kernel in tallest(cell, FLOAT32, (9, 0)):
        ptx = kernel.ptx((9, 0))
        assert ".local" not in ptx, kernel.identity
        assert not re.findall(r"^\s+\w.*\.f64.*$", ptx, re.M), kernel.identity


@pytest.mark.parametrize(
    ("cell", "dtype", "capability", "layers"),
    [
        (cells.LSTM, FLOAT32, (8, 0), 1),
        (cells.LSTM, FLOAT32, (9, 0), 1),
        (cells.LSTM, FLOAT64, (8, 0), 1),
        (cells.LSTM, FLOAT16, (9, 0), 1),
        (cells.GRU_RESET_BEFORE, FLOAT32, (8, 0), 1),
        (cells.GRU_RESET_BEFORE, FLOAT32, (9, 0), 1),
        (cells.LSTM, FLOAT32, (8, 0), MOST_LAYERS),
        (cells.LSTM, FLOAT32, (9, 0), MOST_LAYERS),
    ],
    ids=lambda value: value.name if isinstance(value, cells.Cell) else str(value),
)
def test_largest_tiles_do_not_spill(cell, dtype, capability, layers):
    """Of the cells that hold most; `python -m bench.cuda_static` tells of all kernels."""
    assembly = pytest.importorskip("gpurnn.kernels.cuda.assembly", reason="needs nvJitLink")
    for kernel in tallest(cell, dtype, capability, layers):
        used = assembly.resources(kernel, capability)
        assert used.spills == used.stack == 0, kernel.identity
        assert 32 < used.registers <= 255, kernel.identity


@pytest.mark.parametrize("capability", [(7, 5), (10, 0)], ids=str)
def test_persistent_kernels_compile_for_other_generations(capability):
    for kernel in tallest(cells.LSTM, FLOAT32, capability)[:1]:
        assert f".target sm_{capability[0]}{capability[1]}" in kernel.ptx(capability)


@pytest.mark.parametrize(
    ("name", "dtype", "capability"),
    [
        ("product_nt_128x64", FLOAT32, (8, 0)),
        ("product_nt_128x64", FLOAT32, (9, 0)),
        ("tensor_product_tn_128x64", FLOAT32, (8, 0)),
        ("tensor_product_nt_128x64", FLOAT16, (8, 0)),
        ("product_nn_64x64", FLOAT32, (7, 5)),
    ],
    ids=str,
)
def test_products_do_not_spill(name, dtype, capability):
    """Of those with the largest tiles; `python -m bench.cuda_static` tells of all."""
    assembly = pytest.importorskip("gpurnn.kernels.cuda.assembly", reason="needs nvJitLink")
    of_name = [
        k for k in catalogue.product_kernels(dtype, capability) if name in k.identity.split()
    ]
    (kernel,) = of_name
    used = assembly.resources(kernel, capability)
    assert used.spills == used.stack == 0
    assert 64 <= used.registers <= 255 and used.shared <= 48 * 1024
    assert ".f64" not in kernel.ptx(capability)


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


def test_static_report_has_every_kernel():
    """Whatever function makes a `Kernel`, `python -m bench.cuda_static` tells of such a one."""
    modules = [
        import_module(f"{cuda.__name__}.{found.name}") for found in iter_modules(cuda.__path__)
    ]
    makers = {
        (module.__name__, function.__name__)
        for module in modules
        for function in map(inspect.unwrap, vars(module).values())
        if inspect.isfunction(function) and function.__module__ == module.__name__
        and re.search(r"return Kernel\(", inspect.getsource(function))
    }  # fmt: skip
    reported = {
        (kernel._function.__module__, kernel._function.__qualname__.split(".")[0])
        for dtype in (FLOAT16, FLOAT32)
        for name in (*cuda_static.CELLS, *cuda_static.VARIANTS, cuda_static.REST)
        for kernel in cuda_static.kernels_of(name, dtype, (9, 0))
    }
    assert len(makers) > 50 and makers == reported
