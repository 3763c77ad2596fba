"""How the persistent schedule lies on a device, and a model of its time and the stepwise one's.

The model counts what a step must do: shared-memory accesses and multiplications of the busiest
multiprocessor, trips to the L2 cache, one barrier. Its latencies are round numbers of the order
that microbenchmarks of A100 and H100 have found (Z. Jia et al. 2018; W. Luo et al. 2024); no
kernel of this package has been timed. What it predicts is good for choosing, not for quoting.
"""

from dataclasses import dataclass
from functools import lru_cache

from .device import working
from .intrinsics import WARP, lanes_of
from .persistent_block import COLUMNS, THREADS, WARPS
from .persistent_tiles import Tiles, tile_heights

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

TENSOR_MULTIPLICATIONS = 2048
"""A cycle, by the tensor cores of a multiprocessor, of numbers of a byte: of two half as many."""

TENSOR_TRIP = 18
"""Cycles from one instruction of a tensor core to the next that adds to its sums."""

LAUNCH_SECONDS = 4e-6
"""From one launch of a stepwise loop in Python to the next."""

MOST_RANKED = 3
"""Plans of which measuring may find another than the first to be faster."""

_UNITS = (8, 16, 24, 32, 48, 64)  # whole sectors of 32 bytes


@dataclass(frozen=True)
class Device:
    """What the choice depends on. Multiplications are those of float32 and float64 that a
    multiprocessor does in a cycle; `tf32`: whether float32 may be rounded for tensor cores."""

    name: str
    capability: tuple[int, int]
    multiprocessors: int
    shared_bytes: int
    gigahertz: float
    multiplications: tuple[int, int]
    cooperative: bool = True
    tf32: bool = False


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
    directions: int
    heads: int
    layers: int
    shared_bytes: int
    cycles: float

    @property
    def sizes(self):
        """The last arguments of the kernels, but for the counters."""
        return (
            self.units, self.group_rows, self.rows, self.chunks, self.column_tiles, self.parts,
            self.sums_pitch, self.heads,
        )  # fmt: skip

    @property
    def counters(self):
        return self.groups * self.heads * self.directions * self.layers

    @property
    def block_count(self):
        return self.blocks * self.counters

    @property
    def passes(self):
        return -(-self.group_rows // self.rows)


def _up(n, multiple):
    return -(-n // multiple) * multiple


def padded(hidden, dtype):
    """The numbers of a row of hidden states, a multiple of 16 bytes."""
    return _up(hidden, lanes_of(dtype))


def persistent_plan(
    gates, hidden, batch, dtype, device, backward, late=0, directions=1, heads=1, layers=1
):
    """The fastest plan by the model, or None if the weights do not fit on the chip.

    `late` of the gates have a phase of their own; `directions`, and in each of them `heads` of
    `hidden` units, or so many `layers`, share the device.
    """
    plans = ranked_plans(
        gates, hidden, batch, dtype, device, backward, late, directions, heads, layers
    )
    return plans[0] if plans else None


@lru_cache(maxsize=4096)
def ranked_plans(gates, hidden, batch, dtype, device, backward, late, directions, heads, layers):
    """The fastest `MOST_RANKED` plans by the model, the fastest first."""
    found = []
    if not device.cooperative:
        return found
    heights = tile_heights(dtype, device.capability, late, device.tf32, layers)
    for units in _UNITS:
        blocks = -(-hidden // units)
        most_groups = min(device.multiprocessors // (blocks * directions * heads * layers), batch)
        if units > _up(hidden, _UNITS[0]):
            break
        for group_rows in sorted({-(-batch // groups) for groups in range(1, most_groups + 1)}):
            for tile_rows in heights:
                for parts in (1, 2, 4, 8):
                    plan = plan_of(
                        gates, hidden, batch, dtype, device, backward,
                        units, group_rows, tile_rows, parts, late=late, directions=directions,
                        heads=heads, layers=layers,
                    )  # fmt: skip
                    if plan:
                        found.append(plan)
    return sorted(found, key=lambda plan: plan.cycles)[:MOST_RANKED]


def plan_of(
    gates, hidden, batch, dtype, device, backward, units, group_rows, tile_rows, parts,
    most_rows=THREADS, late=0, directions=1, heads=1, layers=1,
):  # fmt: skip
    """The plan of these sizes with as few passes as fit, of up to `most_rows`; or None."""
    tiles = Tiles(tile_rows, dtype)
    products = [
        _product_sizes(count, units, padded(hidden, dtype), tiles, backward)
        for count in (gates - late, late)
        if count
    ]
    if layers > 1:  # that by which a layer feeds the next has the same sizes
        products *= 2
    column_tiles, chunks = map(max, zip(*products))
    if parts > min(chunks for _, chunks in products):
        return None
    sums_pitch = column_tiles * COLUMNS
    # What is read or stored at once is in different banks: see `persistent_block.sums_tile`.
    rest = units % WARP if tiles.word_bytes == 4 and units % WARP else COLUMNS
    sums_pitch += (rest - sums_pitch) % WARP
    weights = sum(c * t for c, t in products) * COLUMNS * tiles.column_words
    biases = 0 if backward else 2 * gates * units
    row_size = chunks * tiles.row_words + parts * sums_pitch
    room = (device.shared_bytes // tiles.word_bytes - weights - biases) // row_size
    most_rows = min(most_rows, room, THREADS // units)
    # Of a tile of the tensor cores not all rows need be there.
    multiple = 1 if tiles.tensor else tile_rows
    most_rows -= most_rows % multiple
    if most_rows < multiple:
        return None
    passes = -(-group_rows // most_rows)
    rows = _up(-(-group_rows // passes), multiple)

    blocks = -(-hidden // units)
    cycles = (2 if late else 1) * (BARRIER + blocks * ARRIVAL)
    cycles += passes * sum(_pass_cycles(*sizes, rows, tiles, parts, device) for sizes in products)
    shared_bytes = (weights + rows * row_size + biases) * tiles.word_bytes
    return Plan(
        tile_rows, units, blocks, -(-batch // group_rows), group_rows, rows, chunks,
        column_tiles, parts, sums_pitch, directions, heads, layers, shared_bytes, cycles,
    )  # fmt: skip


def _product_sizes(gates, units, pitch, tiles, backward):
    """(column tiles, chunks) of a block's product for so many gates."""
    columns, depth = (units, gates * pitch) if backward else (gates * units, pitch)
    return -(-columns // COLUMNS), -(-depth // tiles.chunk)


def _pass_cycles(column_tiles, chunks, rows, tiles, parts, device):
    """Modelled cycles of a pass over so many rows: fetched, multiplied, and the cell's."""
    count, size = -(-rows // tiles.rows) * column_tiles, tiles.rows * COLUMNS
    words, depth = tiles.word_bytes // 4, chunks * tiles.chunk
    # A warp's access is of 128 bytes a cycle, of a tile's rows and columns.
    accesses = count * depth * tiles.dtype.itemsize * (tiles.rows + COLUMNS) / 128
    rounds = -(-count * parts // WARPS)
    if tiles.tensor:
        rate = TENSOR_MULTIPLICATIONS // tiles.dtype.itemsize
        waits = TENSOR_TRIP * depth * tiles.dtype.itemsize / 32 / parts
    else:
        rate = device.multiplications[words - 1]
        accesses += count * 1.5 * parts * size * words
        waits = 5 * SHUFFLE
    idle = rounds * WARPS / (count * parts)
    product = max(accesses, count * size * depth / rate) * idle + rounds * waits
    fetch = L2_TRIP + rows * depth * tiles.word_bytes / 64
    return fetch + product + CELL


def persistent_seconds(plan, steps, device):
    """Modelled time of a sequence: launch, weights, steps, of which layers do all but a few at
    the same time."""
    weights, steps = L2_TRIP + plan.shared_bytes / 16, steps + plan.layers - 1
    return LAUNCH_SECONDS + (weights + steps * plan.cycles) / (1e9 * device.gigahertz)


def stepwise_seconds(gates, hidden, batch, dtype, steps, device, heads=1):
    """Modelled time of a sequence, one launch a step, whose tiles of 32 units × 8 sequences
    wait for a slice of the weights at a time."""
    blocks = -(-hidden // 32) * -(-batch // 8) * heads
    rounds = -(-blocks // device.multiprocessors)
    accesses = 8 * hidden * (gates + 1) * working(dtype).itemsize / 4
    waits = -(-hidden // 32) * (L2_TRIP + 60)
    step = (waits + rounds * accesses) / (1e9 * device.gigahertz)
    return steps * max(LAUNCH_SECONDS, step)
