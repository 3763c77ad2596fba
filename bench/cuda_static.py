"""`python -m bench.cuda_static`: what can be told of the CUDA kernels without a GPU.

1. Every kernel, compiled and assembled for each generation: registers, spills, shared memory,
   and how many of a multiprocessor's threads its blocks fill.
2. The persistent schedule's layout for a table of shapes, and its time per step BY A MODEL
   (`kernels/cuda/plans.py`), beside what the hardware's rates allow at least; and what layers
   gain that run in one launch. Nothing in these tables is measured.
3. On the emulated device: coalescing, bank conflicts, and that weights stay on the chip, as
   counted by the emulator (`bench/cuda_accesses.py`).

What a call costs the host is told by `python -m bench.cuda_host`.
"""

import argparse
import sys
from dataclasses import replace

import numpy as np

from bench import cuda_accesses
from gpurnn import cells
from gpurnn.kernels.cells.recurrent_dropout import recurrent_dropout
from gpurnn.kernels.cells.zoneout import zoneout

CELLS = {
    cell.name: cell
    for cell in (
        cells.RNN_TANH, cells.RNN_RELU, cells.LSTM, cells.GRU_RESET_AFTER, cells.GRU_RESET_BEFORE,
    )
}  # fmt: skip
VARIANTS = {
    "lstm_extras": recurrent_dropout(zoneout(cells.LSTM_PEEPHOLES, 2)),
    "gru_extras": recurrent_dropout(zoneout(cells.GRU_RESET_BEFORE, 1)),
    "lstm_norm": replace(cells.LSTM, name="lstm_norm", normalised=True),
    "gru_norm": replace(cells.GRU_RESET_BEFORE, name="gru_norm", normalised=True),
}
"""Of what cells may have besides, the most that a kernel of one phase and of two may hold."""

REST = "rest"
"""Stands for all kernels that are of no recurrent cell."""

TREE_CELLS = (cells.TREE_TANH, cells.TREE_RELU, cells.TREE_LSTM)
CAPABILITIES = ("8.0", "9.0", "10.0")
LAYERS, STEPS = 4, 100
SHAPES = [(1, 128), (1, 256), (1, 1024), (8, 256), (32, 256), (64, 512), (64, 1024), (256, 256)]

# Of a multiprocessor of all three generations: registers, how many a warp is given at a time,
# resident threads and blocks (CUDA C++ Programming Guide, table of technical specifications).
REGISTERS, REGISTER_UNIT, MOST_THREADS, MOST_BLOCKS = 65536, 256, 2048, 32
SHARED_BYTES = {"8.0": 164 * 1024, "9.0": 228 * 1024, "10.0": 228 * 1024}
RESERVED_BYTES = 1024  # of shared memory, by each block

MEMORY_GIGABYTES = {"8.0": 1555, "9.0": 3350, "10.0": 8000}
"""A second, of the memory of an A100 (40 GB), an H100 SXM and a B200, by their data sheets."""


def devices():
    from gpurnn.kernels.cuda.plans import Device

    return [
        Device("A100", (8, 0), 108, 163 * 1024, 1.41, (64, 32)),
        Device("H100", (9, 0), 132, 227 * 1024, 1.755, (128, 64)),
        Device("B200", (10, 0), 148, 227 * 1024, 1.85, (128, 64)),
    ]


def occupancy(registers, shared_bytes, threads, capability):
    """The share of a multiprocessor's threads that resident blocks of these needs fill."""
    warps = threads // 32
    of_a_warp = -(-registers * 32 // REGISTER_UNIT) * REGISTER_UNIT
    by_registers = REGISTERS // of_a_warp // warps
    by_shared = SHARED_BYTES[capability] // (shared_bytes + RESERVED_BYTES)
    blocks = min(MOST_THREADS // threads, MOST_BLOCKS, by_registers, by_shared)
    return blocks * threads / MOST_THREADS


def kernels_of(name, dtype, capability):
    """All kernels of one of `CELLS` or `VARIANTS`, or of the `REST`."""
    from gpurnn.kernels.cuda import catalogue

    halves = dtype.itemsize == 2
    if name != REST:
        cell = (CELLS | VARIANTS)[name]
        steps = catalogue.step_kernels if halves else catalogue.cell_kernels
        return steps(cell, dtype) + catalogue.persistent_kernels(cell, dtype, capability)
    products = catalogue.product_kernels(dtype, capability)
    if halves:
        return catalogue.half_kernels(dtype) + products
    of_trees = [k for tree in TREE_CELLS for k in catalogue.tree_kernels(tree, dtype)]
    of_scans = [k for scan in catalogue.SCANS for k in catalogue.scan_kernels(scan, dtype)]
    return catalogue.other_kernels(dtype) + products + of_trees + of_scans


def plain_cells(options):
    """Those of `CELLS` that were asked for."""
    return {name: CELLS[name] for name in options.cell if name in CELLS}


def describe(kernel):
    """A kernel's name; of a map also its function's, of a persistent one its tiles' height and,
    if it is of several layers, their number."""
    words = kernel.identity.split()
    if words[0] in ("map", "master"):
        return f"{words[0]} {words[1]}"
    if not words[0].startswith("persistent"):
        return words[0]
    name, layers, height = words[0], words[-3], words[-2]
    return f"{name} ×{height}" + (f", {layers} layers" if layers != "1" else "")


def table_of_kernels(options):
    """Print the first table; returns how many kernels spill."""
    from gpurnn.kernels.cuda.assembly import resources

    if cuda_accesses.ON_EMULATOR:
        print("Kernels: skipped, since the emulated device has no assembler.")
        return 0
    print("Kernels as compiled and assembled; occupancy at 256 threads a block, by registers and")
    print("static shared memory (a persistent block takes most of the multiprocessor's anyway).\n")
    print(f"{'capability':<11}{'dtype':<9}{'cell':<12}{'kernel':<38}"
          f"{'registers':>10}{'spilled B':>10}{'shared B':>9}{'occupancy':>10}")  # fmt: skip
    spilled = count = 0
    for capability in options.capability:
        pair = tuple(int(part) for part in capability.split("."))
        for dtype in options.dtype:
            for name in options.cell:
                for kernel in kernels_of(name, dtype, pair):
                    used = resources(kernel, pair)
                    count, spilled = count + 1, spilled + (used.spills > 0)
                    full = occupancy(used.registers, used.shared, 256, capability)
                    print(f"{capability:<11}{dtype.name:<9}{name:<12}{describe(kernel):<38}"
                          f"{used.registers:>10}{used.spills:>10}"
                          f"{used.shared:>9}{full:>10.0%}")  # fmt: skip
    print(f"\n{count} kernels, {spilled} of them spill registers\n")
    return spilled


def least_seconds(cell, batch, hidden, device, plan):
    """What a training step forward needs at least: the larger of arithmetic and memory traffic,
    and the plan's barriers."""
    from gpurnn.kernels.cuda.plans import BARRIER

    rate = device.multiplications[0] * device.multiprocessors * device.gigahertz * 1e9
    arithmetic = cell.gates * hidden * hidden * batch / rate
    numbers = (cell.gates + cell.states + cell.saved + 1) * hidden * batch  # xg, states, tape, y
    capability = ".".join(str(part) for part in device.capability)
    memory = 4 * numbers / (1e9 * MEMORY_GIGABYTES[capability])
    barriers = (2 if cell.late else 1) * BARRIER / (1e9 * device.gigahertz)
    return max(arithmetic, memory) + (barriers if plan else 0)


def table_of_shapes(options):
    """Print the second table."""
    from gpurnn.kernels.cuda.plans import persistent_plan, stepwise_seconds

    float32 = np.dtype("float32")
    print("MODELLED µs a step, float32 (no GPU was used; nothing here is measured). least: the")
    print("arithmetic or the memory traffic at the hardware's rates, plus a barrier.\n")
    print(f"{'device':<8}{'cell':<12}{'B':>4}{'H':>6}  {'blocks':>9}{'units':>6}{'tile':>5}"
          f"{'passes':>7}{'KiB':>5}{'forward':>9}{'least':>7}{'of least':>9}{'backward':>9}"
          f"{'stepwise':>9}")  # fmt: skip
    for device in devices():
        for name, cell in plain_cells(options).items():
            for batch, hidden in options.shape:
                sizes = (cell.gates, hidden, batch, float32, device)
                plan, back = (persistent_plan(*sizes, way, cell.late) for way in (False, True))
                stepwise = 1e6 * stepwise_seconds(*sizes[:4], 1, device)
                line = f"{device.name:<8}{name:<12}{batch:>4}{hidden:>6}  "
                if plan is None or back is None:
                    print(f"{line}{'the weights do not fit on the chip':<57}{stepwise:>9.2f}")
                    continue
                forward, backward = (p.cycles / device.gigahertz / 1e3 for p in (plan, back))
                least = 1e6 * least_seconds(cell, batch, hidden, device, plan)
                print(f"{line}{f'{plan.blocks} × {plan.groups}':>9}{plan.units:>6}"
                      f"{f'{plan.tile_rows}×8':>5}{plan.passes:>7}{plan.shared_bytes // 1024:>5}"
                      f"{forward:>9.2f}{least:>7.2f}{least / forward:>9.0%}{backward:>9.2f}"
                      f"{stepwise:>9.2f}")  # fmt: skip
    print()


def table_of_layers(options):
    """Print how many of `LAYERS` layers run at once, and what they gain."""
    from gpurnn.kernels.cuda.choosing import choose, seconds_of_launches
    from gpurnn.kernels.cuda.plans import persistent_seconds

    print(f"MODELLED µs a step of {LAYERS} layers, forward, float32, {STEPS} steps: one after the")
    print("other, and as many at once as are fastest.\n")
    print(f"{'device':<8}{'cell':<12}{'B':>4}{'H':>6}{'at once':>9}{'µs':>7}{'one by one':>12}")
    for device in devices():
        for name, cell in plain_cells(options).items():
            for batch, hidden in options.shape:
                sizes = (cell, hidden, batch, STEPS, np.dtype("float32"), False)
                one, some = (
                    choose(*sizes, "persistent", device, layers=layers) for layers in (1, LAYERS)
                )
                if some is None:
                    continue
                alone, together = (
                    1e6 * persistent_seconds(plans[0], STEPS, device) / STEPS
                    for plans in (one, some)
                )
                at_once = seconds_of_launches(LAYERS, some[0].layers, together, alone)
                print(f"{device.name:<8}{name:<12}{batch:>4}{hidden:>6}{some[0].layers:>9}"
                      f"{at_once:>7.2f}{LAYERS * alone:>12.2f}")  # fmt: skip
    print()


def _shape(text):
    try:
        batch, hidden = (int(part) for part in text.split(","))
    except ValueError:
        batch = hidden = 0
    if min(batch, hidden) < 1:
        raise argparse.ArgumentTypeError(f"expected B,H, two whole numbers, got {text!r}")
    return batch, hidden


def main(arguments=None):
    parser = argparse.ArgumentParser("python -m bench.cuda_static", description=__doc__)
    names = [*CELLS, *VARIANTS, REST]
    parser.add_argument("--cell", action="append", choices=names, help="repeatable")
    dtypes = ["float16", "bfloat16", "float32", "float64"]
    parser.add_argument("--dtype", action="append", choices=dtypes)
    parser.add_argument("--capability", action="append", choices=CAPABILITIES)
    parser.add_argument("--shape", action="append", type=_shape, metavar="B,H")
    options = parser.parse_args(arguments)
    options.cell = options.cell or names
    options.capability = options.capability or list(CAPABILITIES)
    options.shape = options.shape or SHAPES
    try:
        import cuda.bindings.nvjitlink  # noqa: F401
        import cupy  # noqa: F401
    except ImportError as error:
        print(f"skipped: {error}; pip install 'gpurnn[cuda13]', or [cuda12]")
        return 0
    from gpurnn.kernels.cuda.device import ELEMENTS

    options.dtype = [np.dtype(name) for name in options.dtype or ELEMENTS]
    table_of_shapes(options)
    table_of_layers(options)
    if cuda_accesses.ON_EMULATOR:
        cuda_accesses.print_tables(plain_cells(options))
        if REST in options.cell:
            cuda_accesses.print_layers()
            cuda_accesses.print_products()
    else:
        print("Accesses: skipped, since this does not run on the emulated device.\n")
    return 1 if table_of_kernels(options) else 0


if __name__ == "__main__":
    sys.exit(main())
