"""How the persistent schedule lies on a device, and whether it is faster: by a model of its time.

The model counts what a step must do: shared-memory accesses and multiplications of the busiest
multiprocessor, trips to the L2 cache, one barrier. Its latencies are round numbers of the order
that microbenchmarks of A100 and H100 have found (Z. Jia et al. 2018; W. Luo et al. 2024); no
kernel of this package has been timed. What it predicts is good for choosing, not for quoting.
"""

from dataclasses import dataclass
from functools import lru_cache

from .intrinsics import WARP, chunk_of, column_pitch, lanes_of
from .persistent_block import COLUMNS, THREADS, WARPS

L2_TRIP = 270
"""Cycles from a load to its number, where the L2 cache has it."""

BARRIER = 4 * L2_TRIP
"""Cycles: the last numbers' way to the L2, the arrival's, the poll's way there and back."""

ARRIVAL = 2
"""Cycles more for each block that arrives: one counter counts them one after the other."""

CELL = 400
"""Cycles of the cell's mathematics and of the block's own barriers in a pass."""

SHUFFLE = 30
"""Cycles from one exchange between lanes to the next that depends on it."""

LAUNCH_SECONDS = 4e-6
"""From one launch of a stepwise loop in Python to the next."""

_UNITS = (8, 16, 24, 32, 48, 64)  # whole sectors of 32 bytes


@dataclass(frozen=True)
class Device:
    """What the choice depends on. Multiplications are those of float32 and float64 that a
    multiprocessor does in a cycle."""

    name: str
    capability: tuple[int, int]
    multiprocessors: int
    shared_bytes: int
    gigahertz: float
    multiplications: tuple[int, int]
    cooperative: bool = True


def tile_heights(dtype, capability):
    """The heights of tiles that registers hold on devices of a compute capability.

    Before 9.0 the assembler spills the largest; there, multiplications take longer than the
    accesses that a larger tile saves.
    """
    heights = (1, 4, 8) if dtype.itemsize == 4 else (1, 2, 4)
    return heights if capability >= (9, 0) else heights[:-1]


@dataclass(frozen=True)
class Plan:
    """Sizes of a persistent kernel (see `persistent_forward`) and its modelled step."""

    tile_rows: int
    units: int
    blocks: int
    groups: int
    group_rows: int
    rows: int
    chunks: int
    column_tiles: int
    parts: int
    sums_pitch: int
    shared_bytes: int
    cycles: float

    @property
    def grid(self):
        return (self.blocks, self.groups, 1)

    @property
    def passes(self):
        return -(-self.group_rows // self.rows)


def _up(n, multiple):
    return -(-n // multiple) * multiple


def padded(hidden, dtype):
    """The numbers of a row of hidden states, a multiple of 16 bytes."""
    return _up(hidden, lanes_of(dtype))


@lru_cache(maxsize=4096)
def persistent_plan(gates, hidden, batch, dtype, device, backward):
    """The fastest plan by the model, or None if the weights do not fit on the chip."""
    best = None
    if not device.cooperative:
        return None
    for units in _UNITS:
        blocks = -(-hidden // units)
        most_groups = min(device.multiprocessors // blocks, batch)
        if units > _up(hidden, _UNITS[0]):
            break
        for group_rows in sorted({-(-batch // groups) for groups in range(1, most_groups + 1)}):
            for tile_rows in tile_heights(dtype, device.capability):
                for parts in (1, 2, 4, 8):
                    plan = plan_of(
                        gates, hidden, batch, dtype, device, backward,
                        units, group_rows, tile_rows, parts,
                    )  # fmt: skip
                    if plan and (best is None or plan.cycles < best.cycles):
                        best = plan
    return best


def plan_of(
    gates, hidden, batch, dtype, device, backward, units, group_rows, tile_rows, parts,
    most_rows=THREADS,
):  # fmt: skip
    """The plan of these sizes with as few passes as fit, of up to `most_rows`; or None."""
    columns, depth = gates * units, padded(hidden, dtype)
    if backward:
        columns, depth = units, gates * depth
    chunks = -(-depth // chunk_of(dtype))
    if parts > chunks:
        return None
    column_tiles = -(-columns // COLUMNS)
    sums_pitch = column_tiles * COLUMNS
    sums_pitch += (units - sums_pitch) % WARP  # threads of a warp read from different banks
    weights = column_tiles * COLUMNS * chunks * column_pitch(dtype)
    biases = 0 if backward else 2 * columns
    row_size = chunks * chunk_of(dtype) + parts * sums_pitch
    room = (device.shared_bytes // dtype.itemsize - weights - biases) // row_size
    most_rows = min(most_rows, room, THREADS // units)
    most_rows -= most_rows % tile_rows
    if most_rows < tile_rows:
        return None
    passes = -(-group_rows // most_rows)
    rows = _up(-(-group_rows // passes), tile_rows)

    tiles, size = rows // tile_rows * column_tiles, tile_rows * COLUMNS
    words = dtype.itemsize // 4
    accesses = tiles * (4 * chunks * (tile_rows + COLUMNS) + 1.5 * parts * size * words)
    rate = device.multiplications[words - 1]
    multiplications = tiles * size * chunks * chunk_of(dtype) / rate
    rounds = -(-tiles * parts // WARPS)
    idle = rounds * WARPS / (tiles * parts)
    product = max(accesses, multiplications) * idle + rounds * 5 * SHUFFLE
    fetch = L2_TRIP + rows * depth * dtype.itemsize / 64
    blocks = -(-hidden // units)
    cycles = BARRIER + blocks * ARRIVAL + passes * (fetch + product + CELL)
    shared_bytes = (weights + rows * row_size + biases) * dtype.itemsize
    return Plan(
        tile_rows, units, blocks, -(-batch // group_rows), group_rows, rows, chunks,
        column_tiles, parts, sums_pitch, shared_bytes, cycles,
    )  # fmt: skip


def persistent_seconds(plan, steps, device):
    """Modelled time of a sequence: launch, weights, steps."""
    weights = L2_TRIP + plan.shared_bytes / 16
    return LAUNCH_SECONDS + (weights + steps * plan.cycles) / (1e9 * device.gigahertz)


def stepwise_seconds(gates, hidden, batch, dtype, steps, device):
    """Modelled time of a sequence, one launch a step, whose tiles of 32 units × 8 sequences
    wait for a slice of the weights at a time."""
    blocks = -(-hidden // 32) * -(-batch // 8)
    rounds = -(-blocks // device.multiprocessors)
    accesses = 8 * hidden * (gates + 1) * dtype.itemsize / 4
    waits = -(-hidden // 32) * (L2_TRIP + 60)
    step = (waits + rounds * accesses) / (1e9 * device.gigahertz)
    return steps * max(LAUNCH_SECONDS, step)


def choose(cell, hidden, batch, steps, dtype, keep, wanted, device):
    """(forward plan, backward plan) of the persistent schedule; None stands for the stepwise.

    The second is None without `keep`. `wanted`: "stepwise", "persistent" (if it can be) or
    "auto" (if it can be and the model expects it to be faster).
    """
    if cell.late or wanted == "stepwise":
        return None
    sizes = (cell.gates, hidden, batch, dtype, device)
    plans = [persistent_plan(*sizes, backward) for backward in (False, True)[: 1 + keep]]
    if any(plan is None or steps * plan.blocks >= 2**32 for plan in plans):  # counters' range
        return None
    seconds = sum(persistent_seconds(plan, steps, device) for plan in plans)
    stepwise = stepwise_seconds(cell.gates, hidden, batch, dtype, steps, device)
    if wanted == "auto" and seconds > stepwise * len(plans):
        return None
    return (*plans, None)[:2]
