"""The persistent schedule's layouts hold what they must for any sizes; no GPU is needed."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpurnn import cells

pytest.importorskip("cupy", reason="CUDA kernels need CuPy")
pytest.importorskip("numba_cuda", reason="CUDA kernels are compiled by numba-cuda")

from gpurnn.kernels.cuda.choosing import MOST_LAYERS, choose  # noqa: E402
from gpurnn.kernels.cuda.persistent_block import THREADS  # noqa: E402
from gpurnn.kernels.cuda.persistent_tiles import Tiles  # noqa: E402
from gpurnn.kernels.cuda.plans import Device, persistent_plan  # noqa: E402

DEVICE = Device("a device", (9, 0), 132, 227 * 1024, 1.7, (128, 64))
SMALL = Device("a small device", (7, 5), 30, 64 * 1024, 1.5, (64, 2))
TENSOR = replace(DEVICE, tf32=True)
FLOAT16, FLOAT32, FLOAT64 = map(np.dtype, ("float16", "float32", "float64"))


@given(
    st.integers(1, 5), st.integers(1, 1100), st.integers(1, 300),
    st.sampled_from([FLOAT16, FLOAT32, FLOAT64]), st.sampled_from([DEVICE, SMALL, TENSOR]),
    st.booleans(), st.sampled_from(["plain", "late", "layers"]), st.integers(1, 2),
    st.sampled_from([1, 1, 3, 16]), st.integers(2, MOST_LAYERS),
)  # fmt: skip
def test_plan_covers_the_work_and_fits(
    gates, hidden, batch, dtype, device, backward, kind, directions, heads, layers
):
    late = int(kind == "late" and gates > 1)
    if kind == "layers":
        directions = heads = 1
    else:
        layers = 1
    plan = persistent_plan(
        gates, hidden, batch, dtype, device, backward, late, directions, heads, layers
    )
    if plan is None:
        if dtype in (FLOAT16, FLOAT64)[: 1 + (layers > 1)] and device is SMALL:
            return  # it has no tensor cores for that, or too few registers
        # Not even eight units' weights fit beside a sequence, or they need too many blocks.
        room = device.shared_bytes // dtype.itemsize
        together = directions * heads * layers
        most = min(device.multiprocessors // together, 132)
        products = 2 if layers > 1 else 1
        assert 8 * gates * products * hidden * most > room or hidden > 240 // together
        return
    assert plan.blocks * plan.units >= hidden > (plan.blocks - 1) * plan.units
    assert plan.groups * plan.group_rows >= batch > (plan.groups - 1) * plan.group_rows
    blocks = plan.blocks * plan.groups * heads * directions * layers
    assert plan.block_count == blocks <= device.multiprocessors
    tiles = Tiles(plan.tile_rows, dtype)
    assert tiles.tensor or plan.rows % plan.tile_rows == 0
    assert plan.passes * plan.rows >= plan.group_rows
    assert plan.rows * plan.units <= THREADS
    assert 1 <= plan.parts <= plan.chunks
    columns = plan.units if backward else max(gates - late, late) * plan.units
    assert plan.column_tiles * 8 >= columns
    rest = 8 if dtype == FLOAT64 else plan.units % 32 or 8
    assert plan.sums_pitch % 32 == rest and plan.sums_pitch >= plan.column_tiles * 8
    depth = plan.chunks * tiles.chunk
    assert depth >= (gates - late if backward else 1) * hidden
    columns = plan.column_tiles * 8 * (2 if layers > 1 else 1)
    numbers = (columns + plan.rows) * depth
    assert numbers * dtype.itemsize < plan.shared_bytes <= device.shared_bytes


def choice(cell=cells.LSTM, hidden=256, batch=32, steps=100, wanted="auto", device=DEVICE):
    return choose(cell, hidden, batch, steps, FLOAT32, True, wanted, device)


def test_choice():
    assert choice() is not None
    assert choice(wanted="stepwise") is None
    assert choice(hidden=4096) is None
    assert choice(cell=cells.GRU_RESET_BEFORE) is not None
    assert choice(device=replace(DEVICE, cooperative=False)) is None
    assert choice(steps=2**32) is None, "the barrier's counter would overflow"
    assert choice(hidden=1024) is not None
    assert choice(hidden=1024, device=SMALL) is None, "the weights are larger than the chip"


@pytest.mark.parametrize(("layers", "at_once"), [(2, 2), (3, 3), (6, 3), (12, 4)])
def test_choice_of_layers(layers, at_once):
    """A small layer's steps are waits, which layers of one launch share."""
    sizes = (cells.LSTM, 128, 1, 100, FLOAT32, True)
    forward, backward = choose(*sizes, "auto", DEVICE, layers=layers)
    assert forward.layers == backward.layers == at_once
    assert choose(*sizes, "stepwise", DEVICE, layers=layers) is None
    assert choose(cells.GRU_RESET_BEFORE, *sizes[1:], "auto", DEVICE, layers=layers) is None
    large = (cells.LSTM, 1024, 1, 100, FLOAT32, True)
    assert choose(*large, "persistent", DEVICE, layers=layers) is None, "no room for two"


@pytest.mark.parametrize("dtype", [FLOAT16, FLOAT32], ids=str)
def test_heads_let_large_hidden_sizes_stay_on_the_chip(dtype):
    """4096 units of 16 heads, forward and back."""
    sizes = (32, 100, dtype, True, "persistent", DEVICE)
    assert choose(cells.LSTM, 4096, *sizes) is None
    forward, backward = choose(cells.LSTM, 4096 // 16, *sizes, heads=16)
    for plan in (forward, backward):
        assert plan.block_count == plan.blocks * plan.groups * 16 <= DEVICE.multiprocessors
        assert plan.shared_bytes <= DEVICE.shared_bytes


def test_16_bits_let_twice_the_weights_stay_on_the_chip():
    sizes = (cells.LSTM.gates, 1200, 8)
    assert persistent_plan(*sizes, FLOAT32, DEVICE, backward=False) is None
    plan = persistent_plan(*sizes, FLOAT16, DEVICE, backward=False)
    assert plan.tile_rows == 16
