"""What kernels read and write, as counted by an emulated device; part of `bench.cuda_static`.

The device counts in kernels that were loaded while it was told to: run this before they are.

1. Which share of the moved bytes was asked for (coalescing), and which share of the
   shared-memory passes was needed (bank conflicts).
2. What the persistent kernels read from global memory once, and what at every step: the
   weights are of the first, if they stay on the chip.
"""

import json
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np

ON_EMULATOR = "PTXRUN_LIBRARY" in os.environ

KERNEL_NAMES = (
    "persistent_forward", "persistent_backward", "persistent_late_forward",
    "persistent_late_backward", "last_backward_step", "late_backward_step", "gate_backward_step",
    "forward_step", "backward_step", "gate_step", "late_step",
)  # fmt: skip

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


def launches(cell, batch, hidden, schedule, steps=3):
    """The emulator's counters of a small forward and backward pass: kernel's name -> the first
    launch's."""
    import cupy

    import gpurnn

    layer = gpurnn.Recurrent(cell, 32, hidden, device="cuda", rng=0)
    x = cupy.zeros((steps, batch, 32), np.float32)
    gpurnn.cuda.schedule(schedule)
    try:
        with counting() as counters:
            y, _, backward = layer.forward(x)
            backward(cupy.ones_like(y))
    finally:
        gpurnn.cuda.schedule("auto")
    found = {}
    for launch in counters:
        for name in KERNEL_NAMES:
            if f"{len(name)}{name}" in launch["kernel"]:
                found.setdefault(name, launch)
    return found


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
    """Needed by made: of bytes moved in global memory, of shared memory's loads, its stores."""

    def share(space, kind, needed, made):
        sites = [s for s in launch["memory"] if s["space"] == space and s["kind"] in kind]
        total = sum(site[made] for site in sites)
        return sum(site[needed] for site in sites) / total if total else 1.0

    for site in launch["memory"]:
        site["moved_bytes"] = 32 * site.get("sectors", 0)
    return (
        share("global", ("load", "store", "atomic"), "useful_bytes", "moved_bytes"),
        share("shared", ("load",), "ideal_passes", "passes"),
        share("shared", ("store",), "ideal_passes", "passes"),
    )


def reads(cell, batch, hidden):
    """Kernel's name -> bytes a persistent kernel reads from global memory once, and at a step.

    Found by comparing a sequence with one of twice as many steps, barriers' polls left out.
    """
    steps = 3
    short, long = (launches(cell, batch, hidden, "persistent", n) for n in (steps, 2 * steps))

    def loaded(launch):
        return sum(
            site["bytes"]
            for site in launch["memory"]
            if site["space"] == "global" and site["kind"] == "load" and "acquire" not in site["ptx"]
        )

    found = {}
    for name in short:
        if name.startswith("persistent"):
            a_step = (loaded(long[name]) - loaded(short[name])) / steps
            found[name] = loaded(short[name]) - steps * a_step, a_step
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


def print_tables(cells):
    """Print both tables for cells by name."""
    print("Accesses, as the emulator counts them over 3 steps, B 16, H 96: bytes asked for by")
    print("bytes moved (global), passes needed by passes made (shared); loads and stores of all")
    print("phases, the one-time filling of shared memory included.\n")
    print(f"{'cell':<12}{'schedule':<12}{'kernel':<26}{'global':>8}{'shared loads':>14}"
          f"{'shared stores':>14}")  # fmt: skip
    for name, cell in cells.items():
        for schedule in ("stepwise", "persistent"):
            for kernel, launch in launches(cell, 16, 96, schedule).items():
                asked, loads, stores = shares(launch)
                print(f"{name:<12}{schedule:<12}{kernel:<26}{asked:>8.0%}{loads:>14.0%}"
                      f"{stores:>14.0%}")  # fmt: skip
    print(
        "\nKiB read from global memory by a persistent kernel, B 1, H 96, one group of blocks: the"
    )
    print("recurrent weights are read once.\n")
    print(f"{'cell':<12}{'kernel':<26}{'weights':>8}{'read once':>11}{'a step':>8}")
    for name, cell in cells.items():
        weights = 4 * cell.gates * 96 * 96
        for kernel, (once, a_step) in reads(cell, 1, 96).items():
            print(f"{name:<12}{kernel:<26}{weights / 1024:>8.0f}{once / 1024:>11.0f}"
                  f"{a_step / 1024:>8.1f}")  # fmt: skip
    print()
