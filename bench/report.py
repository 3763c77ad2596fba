"""The run as lines of text and as JSON."""

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "gpurnn", "numba", "numpy", "torch", "onnxruntime", "openvino", "jax", "cupy-cuda12x",
    "cupy-cuda13x",
)  # fmt: skip


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _device_name(device):
    if device == "cpu":
        return _processor()
    import cupy

    return cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode()


def _version(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def describe_machine(device, threads):
    return {
        "device": device,
        "name": _device_name(device),
        "threads": threads,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: v for name in PACKAGES if (v := _version(name))},
    }


def heading(machine, absent):
    lines = [
        f"{machine['name']}, {machine['threads']} threads; "
        + " ".join(f"{name} {v}" for name, v in machine["versions"].items()),
    ]
    lines += [f"absent: {name}: {why}" for name, why in absent.items()]
    return "\n".join(lines)


def limits_line(meter):
    products = ", ".join(f"{name} {rate:.0f}" for name, rate in meter.product_gflops.items())
    return (
        f"limits: float32 product {meter.best_product_gflops:.0f} GFLOP/s"
        f" ({products}); memory copy {meter.copy_gbs:.1f} GB/s"
    )


def table_head(names):
    columns = "".join(f"{name:>13}" for name in names)
    return (
        f"{'ms':<10}{'cell':<5}{'T':>5}{'B':>5}{'I':>5}{'H':>5}{columns}"
        f"{'GFLOP/s':>9}{'of limit':>10}  speed vs best peer"
    )


def table_line(row, names):
    medians = row["median_seconds"]
    columns = "".join(
        f"{1e3 * medians[name]:>13.4g}" if name in medians else f"{'-':>13}" for name in names
    )
    ratio = "-"
    if row["best_peer"]:
        ratio = f"{row['speed_vs_best_peer']:.2f} x {row['best_peer']}"
    sizes = "".join(f"{row[name]:>5}" for name in "TBIH")
    return (
        f"{row['mode']:<10}{row['cell']:<5}{sizes}{columns}"
        f"{row['gflops']:>9.1f}{row['of_limit']:>10.1%}  {ratio}"
    )


def write_json(path, machine, meter, absent, results):
    limits = {"product_gflops": meter.product_gflops, "copy_gbs": meter.copy_gbs}
    report = {"machine": machine, "limits": limits, "absent": absent, "results": results}
    Path(path).write_text(json.dumps(report, indent=1) + "\n")
