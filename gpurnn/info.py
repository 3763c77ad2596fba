"""What `gpurnn info` says: enough to tell why something is slow or does not run."""

import os
import platform
from importlib import metadata
from pathlib import Path

import llvmlite.binding as llvm

import gpurnn
from gpurnn import cuda
from gpurnn.kernels.cache import folder
from gpurnn.kernels.cpu.simd import lanes_of
from gpurnn.kernels.cpu.threads import get_num_threads

DISTRIBUTIONS = {
    "numpy": ("numpy",),
    "numba": ("numba",),
    "llvmlite": ("llvmlite",),
    "cupy": ("cupy-cuda13x", "cupy-cuda12x", "cupy"),
    "numba-cuda": ("numba-cuda",),
}


def describe():
    """Versions, processor, cache and CUDA, as aligned lines."""
    lines = [
        ("gpurnn", gpurnn.__version__),
        ("python", f"{platform.python_version()} on {platform.platform()}"),
    ]
    lines += [(name, _version(*names)) for name, names in DISTRIBUTIONS.items()]
    lines += [
        ("processor", f"{_processor()} ({llvm.get_host_cpu_name()})"),
        ("vectors", f"{lanes_of('float32')} float32 or {lanes_of('float64')} float64 at a time"),
        ("threads", str(get_num_threads())),
        ("kernel cache", _cache()),
        *_cuda(),
    ]
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in lines)


def _version(*distributions):
    for name in distributions:
        try:
            return metadata.version(name) + ("" if len(distributions) == 1 else f" ({name})")
        except metadata.PackageNotFoundError:
            pass
    return "not installed"


def _processor():
    """The processor's name as its maker gives it, where the system tells."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _cache():
    """The folder of compiled kernels, and whether new ones can be kept there."""
    path = place = folder()
    while not place.exists() and place != place.parent:
        place = place.parent
    writable = place.is_dir() and os.access(place, os.W_OK)
    return f"{path} ({'writable' if writable else 'not writable: kernels compile anew each time'})"


def _cuda():
    reason = cuda.why_not()
    if reason is not None:
        return [("cuda", f"not available: {reason}")]
    import cupy

    device = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.runtime.getDevice())
    name = f"{device['name'].decode()}, compute capability {device['major']}.{device['minor']}"
    autotuned = "timed when first run" if cuda.autotune() else "timed before, or by the model"
    lines = [("cuda", name), ("cuda schedule", f"{cuda.schedule()} ({autotuned})")]
    products = "timed when first run" if cuda.autotune() else "timed before, or by cuBLAS"
    rounding = "tf32 allowed" if cuda.allow_tf32() else "strict float32"
    lines.append(("cuda products", f"{cuda.products()} ({products}; {rounding})"))
    for hidden, heads, layers in (
        (128, 1, 1),
        (256, 1, 1),
        (256, 1, 3),
        (1024, 1, 1),
        (4096, 16, 1),
    ):
        sizes = {"batch": 32, "steps": 100, "num_heads": heads, "num_layers": layers}
        chosen = cuda.explain_schedule(gpurnn.cells.LSTM, hidden, **sizes)
        of = f", {heads} heads" if heads > 1 else f", {layers} layers" if layers > 1 else ""
        lines.append((f"  lstm {hidden}{of}, batch 32", chosen))
    return lines
