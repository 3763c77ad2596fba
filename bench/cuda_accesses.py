"""What kernels read and write, as counted by an emulated device; part of `bench.cuda_static`.

The device counts in kernels that were loaded while it was told to: run this before they are.

1. Which share of the moved bytes was asked for (coalescing), and which share of the
   shared-memory passes was needed (bank conflicts).
2. What the persistent kernels read from global memory once, and what at every step: the
   weights are of the first, if they stay on the chip.
"""

import json
import os
import re
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import gpurnn
from gpurnn.layers.scans import ScanStack

ON_EMULATOR = "PTXRUN_LIBRARY" in os.environ

STEPS, BATCH, INPUTS, HIDDEN = 3, 16, 32, 96
SCHEDULES = {
    "stepwise": ("stepwise", 1),
    "persistent": ("persistent", 1),
    "3 at once": ("persistent", 3),
}
"""Name -> which schedule, and of how many layers."""

SCAN_STEPS = 32  # as many as are spread over chunks

LAYERS = {
    "LSTM projected": lambda: gpurnn.LSTM(INPUTS, HIDDEN, proj_size=64, device="cuda"),
    "LSTM normalised": lambda: gpurnn.LSTM(INPUTS, HIDDEN, layer_norm=True, device="cuda"),
    "GRU normalised": lambda: gpurnn.GRU(
        INPUTS, HIDDEN, layer_norm=True, reset_after=False, device="cuda"
    ),
    "MinGRU": lambda: gpurnn.MinGRU(INPUTS, HIDDEN, device="cuda"),
    "QRNN": lambda: gpurnn.QRNN(INPUTS, HIDDEN, pooling="ifo", device="cuda"),
    "SRU": lambda: gpurnn.SRU(INPUTS, HIDDEN, device="cuda"),
    "SRU peepholes": lambda: gpurnn.SRU(INPUTS, HIDDEN, peepholes=True, device="cuda"),
}
"""Those that have kernels besides a cell's own."""

PRODUCT_KINDS = {
    "float32": ("float32", False),
    "tf32": ("float32", True),
    "float16": ("float16", True),
}
LAYOUTS = {"a bT": (True, True), "a b": (True, False), "aT b": (False, False)}
"""Whether the rows of a, and the columns of b, are contiguous."""


@contextmanager
def counting():
    """A list, which holds the emulator's counters of each launch in here when that is over."""
    counters = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "counters")
        os.environ["PTXRUN_PROFILE"] = str(file)
        try:
            yield counters
        finally:
            del os.environ["PTXRUN_PROFILE"]
        counters += map(json.loads, file.read_text().splitlines())


def kernel_name(symbol):
    """The function of `gpurnn.kernels.cuda` that made a kernel, with its module where the name
    alone says little; None for kernels that are not ours."""
    parts, rest = [], symbol.removeprefix("_ZN")
    while number := re.match(r"\d+", rest):
        size, rest = int(number[0]), rest[number.end() :]
        parts.append(rest[:size])
        rest = rest[size:]
    if parts[:3] != ["gpurnn", "kernels", "cuda"]:
        return None
    module, maker = parts[3:5]
    return f"{module}.{maker}" if maker.endswith("_kernel") else maker


def launches(layer, steps, batch):
    """The emulator's counters of a small forward and backward pass: kernel's name -> the first
    launch's. What large products are made of is not among them."""
    import cupy

    x = cupy.zeros((steps, batch, layer.input_size), np.float32)
    with counting() as counters:
        y, _, backward = layer.forward(x)
        backward(cupy.ones_like(y))
    found = {}
    for launch in counters:
        name = kernel_name(launch["kernel"])
        if name:
            found.setdefault(name, launch)
    return found


def cell_launches(cell, batch, schedule, steps=STEPS):
    """`launches` of a cell's own kernels in a layer, or in several, by one of `SCHEDULES`."""
    name, layers = SCHEDULES[schedule]
    gpurnn.cuda.schedule(name)
    try:
        layer = gpurnn.Recurrent(cell, INPUTS, HIDDEN, layers, device="cuda", rng=0)
        found = launches(layer, steps, batch)
    finally:
        gpurnn.cuda.schedule("auto")
    return {name: launch for name, launch in found.items() if "." not in name}


def product_accesses(kind, layout):
    """`shares` of a product of ours, 160 × 128 by 128 × 96, of a `PRODUCT_KINDS` and `LAYOUTS`."""
    import cupy

    from gpurnn.kernels.cuda import product_kernel
    from gpurnn.kernels.cuda.own_product import multiply_own
    from gpurnn.kernels.cuda.schedules import device_here

    (dtype, tensor), (a_along, b_along) = PRODUCT_KINDS[kind], LAYOUTS[layout]

    def matrix(rows, columns, along):
        return cupy.zeros((rows, columns) if along else (columns, rows), dtype)

    a, b = matrix(160, 128, a_along), matrix(96, 128, b_along)
    a, b = a if a_along else a.T, b.T if b_along else b
    out = cupy.empty((160, 96), dtype)
    product_kernel.product_kernel.cache_clear()  # it is to be loaded anew
    with counting() as counters:
        multiply_own(a, b, out, False, device_here(0), tensor)
    return next(shares(launch) for launch in counters if "product_kernel" in launch["kernel"])


def shares(launch):
    """Needed by made: of bytes moved in global memory, of shared memory's loads, its stores.

    Without the polls of barriers, of which there are as many as an emulator's blocks are slow.
    """
    memory = [site for site in launch["memory"] if not _is_poll(site)]

    def share(space, kind, needed, made):
        sites = [s for s in memory if s["space"] == space and s["kind"] in kind]
        total = sum(site[made] for site in sites)
        return sum(site[needed] for site in sites) / total if total else 1.0

    for site in memory:
        site["moved_bytes"] = 32 * site.get("sectors", 0)
    return (
        share("global", ("load", "store", "atomic"), "useful_bytes", "moved_bytes"),
        share("shared", ("load",), "ideal_passes", "passes"),
        share("shared", ("store",), "ideal_passes", "passes"),
    )


def _is_poll(site):
    return site["kind"] == "load" and "acquire" in site["ptx"]


def reads(cell, batch, schedule):
    """Kernel's name -> bytes a persistent kernel reads from global memory once, and at a step.

    Found by comparing a sequence with one of twice as many steps, barriers' polls left out.
    """
    short, long = (cell_launches(cell, batch, schedule, steps) for steps in (STEPS, 2 * STEPS))

    def loaded(launch):
        return sum(
            site["bytes"]
            for site in launch["memory"]
            if site["space"] == "global" and site["kind"] == "load" and not _is_poll(site)
        )

    found = {}
    for name in short:
        if name.startswith("persistent"):
            a_step = (loaded(long[name]) - loaded(short[name])) / STEPS
            found[name] = loaded(short[name]) - STEPS * a_step, a_step
    return found


def print_products():
    """Print `product_accesses` of all kinds and layouts."""
    print("The same of large products of ours, 160 × 128 by 128 × 96.\n")
    print(f"{'kind':<12}{'layout':<12}{'global':>8}{'shared loads':>14}{'shared stores':>14}")
    for kind in PRODUCT_KINDS:
        for layout in LAYOUTS:
            asked, loads, stores = product_accesses(kind, layout)
            print(f"{kind:<12}{layout:<12}{asked:>8.0%}{loads:>14.0%}{stores:>14.0%}")
    print()


def print_layers(names=LAYERS):
    """Print `shares` of all kernels of some of the `LAYERS`."""
    print(f"The same of other layers, B {BATCH}, I {INPUTS}, H {HIDDEN}.\n")
    print(f"{'layer':<18}{'kernel':<34}{'global':>8}{'shared loads':>14}{'shared stores':>14}")
    for name in names:
        layer = LAYERS[name]()
        steps = SCAN_STEPS if isinstance(layer, ScanStack) else STEPS
        for kernel, launch in launches(layer, steps, BATCH).items():
            asked, loads, stores = shares(launch)
            print(f"{name:<18}{kernel:<34}{asked:>8.0%}{loads:>14.0%}{stores:>14.0%}")
    print()


def schedules_of(cell):
    """Those of `SCHEDULES` that a cell has, the persistent ones last."""
    return [*SCHEDULES][: 2 if cell.late else 3]


def print_tables(cells):
    """Print both tables for cells by name."""
    print(f"Accesses, as the emulator counts them over {STEPS} steps, B {BATCH}, H {HIDDEN}: bytes")
    print("asked for by bytes moved (global), passes needed by passes made (shared); loads and")
    print("stores of all phases, the one-time filling of shared memory included.\n")
    print(f"{'cell':<12}{'schedule':<12}{'kernel':<26}{'global':>8}{'shared loads':>14}"
          f"{'shared stores':>14}")  # fmt: skip
    for name, cell in cells.items():
        for schedule in schedules_of(cell):
            for kernel, launch in cell_launches(cell, BATCH, schedule).items():
                asked, loads, stores = shares(launch)
                print(f"{name:<12}{schedule:<12}{kernel:<26}{asked:>8.0%}{loads:>14.0%}"
                      f"{stores:>14.0%}")  # fmt: skip
    print(f"\nKiB read from global memory by a persistent kernel, B 1, H {HIDDEN}, one group of")
    print("blocks: the weights, of layers at once those of their inputs too, are read once.\n")
    print(f"{'cell':<12}{'kernel':<26}{'layers':>7}{'weights':>8}{'read once':>11}{'a step':>8}")
    for name, cell in cells.items():
        for schedule in schedules_of(cell)[1:]:
            _, layers = SCHEDULES[schedule]
            weights = 4 * (2 * layers - 1) * cell.gates * HIDDEN**2
            for kernel, (once, a_step) in reads(cell, 1, schedule).items():
                print(f"{name:<12}{kernel:<26}{layers:>7}{weights / 1024:>8.0f}{once / 1024:>11.0f}"
                      f"{a_step / 1024:>8.1f}")  # fmt: skip
    print()
