"""NumPy or CuPy: which device an array lies on, which kernels work there, checks at the door."""

import sys
from functools import cache

import numpy as np

DEVICES = ("cpu", "cuda")
FLOATS = (np.dtype("float32"), np.dtype("float64"))
HALVES = ("float16", "bfloat16")
"""What is stored in 16 bits and computed in float32, on CUDA only."""


def is_cupy(a):
    """Whether `a` is a CuPy array; does not import CuPy."""
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(a, cupy.ndarray)


def device_of(a):
    """The device of a NumPy or CuPy array: "cpu" or "cuda"."""
    return "cuda" if is_cupy(a) else "cpu"


def check_device(device):
    """Raise ValueError unless `device` is "cpu" or "cuda", RuntimeError if CUDA cannot be used."""
    if device not in DEVICES:
        raise ValueError(f"device: expected 'cpu' or 'cuda', got {device!r}")
    if device == "cuda":
        from . import cuda

        cuda.require()


def is_half(dtype):
    """Whether numbers of a NumPy dtype have 16 bits."""
    return dtype.name in HALVES


def check_dtype(dtype, halves=False):
    """The NumPy dtype of a layer; ValueError if kernels do not have it, or not `halves`.

    "bfloat16" is that of the package ml_dtypes, which CuPy from 14 on has arrays of.
    """
    message = f"dtype: expected float32 or float64, got {dtype!r}"
    if isinstance(dtype, str) and dtype == "bfloat16":
        try:
            import ml_dtypes
        except ImportError:
            raise ValueError("dtype: bfloat16 needs the package ml_dtypes, CuPy 14") from None
        dtype = ml_dtypes.bfloat16
    try:
        found = np.dtype(dtype)
    except TypeError:
        raise ValueError(message) from None
    if dtype is not None and halves and is_half(found):
        return found
    if dtype is None or found not in FLOATS:  # None is float64 to NumPy
        raise ValueError(message)
    return found


@cache
def module_of(device):
    """The array module of a device: numpy or cupy."""
    if device == "cpu":
        return np
    import cupy

    return cupy


@cache
def kernels_of(device):
    """The kernels of a device: `gpurnn.kernels.cpu` or `gpurnn.kernels.cuda`."""
    if device == "cpu":
        from .kernels import cpu

        return cpu
    from .kernels import cuda

    return cuda


def is_recorded():
    """Whether what is done on CuPy's current stream becomes part of a caller's CUDA graph."""
    return module_of("cuda").cuda.get_current_stream().is_capturing()


def to_numpy(a):
    """A NumPy array with the values of `a`: itself, or a copy from the GPU."""
    return a.get() if is_cupy(a) else np.asarray(a)


def to_device(a, device):
    """`a` on the device: itself if it lies there, else a copy."""
    if device == "cpu":
        return to_numpy(a)
    return module_of(device).asarray(a)


def adopt(a, name):
    """A NumPy or CuPy array on the memory of `a`, without a copy."""
    if isinstance(a, np.ndarray) or is_cupy(a):
        return a
    if hasattr(a, "detach"):  # a PyTorch tensor refuses to be shared while it requires a gradient
        a = a.detach()
    if hasattr(a, "__cuda_array_interface__"):
        return module_of("cuda").asarray(a)
    if hasattr(a, "__dlpack__"):
        on_cpu = a.__dlpack_device__()[0] == 1
        return np.from_dlpack(a) if on_cpu else module_of("cuda").from_dlpack(a)
    raise TypeError(f"{name}: expected a NumPy or CuPy array, got {type(a).__name__}")


def check_array(a, name, device, dtype=None, shape=None, expected=None):
    """`a` as a C-contiguous array of the device, checked.

    `dtype` None stands for any integers; `shape` may hold None for any length; `expected`, a text
    or letters for those, names the shape in the message. Raises TypeError (not an array, wrong
    device or dtype) or ValueError (wrong shape), naming the argument.
    """
    if (
        dtype is not None and (type(a) is np.ndarray if device == "cpu" else is_cupy(a))
        and a.dtype == dtype and _fits(a.shape, shape) and a.flags.c_contiguous
    ):  # fmt: skip
        return a  # the usual case, in a fraction of the time
    a = adopt(a, name)
    if device_of(a) != device:
        kinds = {"cpu": "a NumPy array", "cuda": "a CuPy array"}
        raise TypeError(
            f"{name}: expected {kinds[device]}, since the rest is on {device!r}, "
            f"got {kinds[device_of(a)]}, on {device_of(a)!r}; nothing is moved silently"
        )
    if dtype is None:
        if a.dtype.kind not in "iu":
            raise TypeError(f"{name}: expected integers, got {a.dtype}")
    elif a.dtype != dtype:
        raise TypeError(f"{name}: expected {np.dtype(dtype)}, got {a.dtype}")
    if not _fits(a.shape, shape):
        wanted = _shape_text(_with_letters(shape, expected))
        raise ValueError(f"{name}: expected {wanted}, got {_shape_text(a.shape)}")
    return module_of(device).asarray(a, order="C")


def _fits(shape, wanted):
    """Whether a shape is the wanted one, in which None stands for any length, or alone for all."""
    if wanted is None or shape == wanted:
        return True
    if len(shape) != len(wanted):
        return False
    for n, m in zip(wanted, shape):  # quicker than all() for the few that there are
        if n is not None and n != m:
            return False
    return True


def _with_letters(shape, expected):
    """The wanted shape, as a message names it: a text, or a tuple."""
    if not isinstance(expected, tuple):
        return expected or shape
    return tuple(letter if n is None else n for n, letter in zip(shape, expected))


def _shape_text(shape):
    if isinstance(shape, str):
        return shape
    return "(" + ", ".join(str(n) for n in shape) + ("," if len(shape) == 1 else "") + ")"


def check_rng(rng):
    """A NumPy generator from None, a seed or a generator; TypeError or ValueError for others."""
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        raise type(error)(f"rng: expected None, a seed or a Generator, got {rng!r}") from None


def check_size(n, name, least=1):
    """`n` as an int; ValueError unless it is a whole number of at least `least`."""
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < least:
        raise ValueError(f"{name}: expected an integer of at least {least}, got {n!r}")
    return int(n)


def check_heads(num_heads, hidden_size):
    """`num_heads` as an int; ValueError unless it divides the hidden size."""
    number = check_size(num_heads, "num_heads")
    if hidden_size % number:
        raise ValueError(f"num_heads: expected a divisor of {hidden_size}, got {number}")
    return number


def check_lengths(lengths, name, batch, low, high=None):
    """Lengths of sequences, integers (B,) from `low` to `high`, as a NumPy array on the host."""
    try:
        lengths = to_numpy(lengths)
    except ValueError:
        raise ValueError(f"{name}: expected ({batch},), got {lengths!r}") from None
    if lengths.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected integers, got {lengths.dtype}")
    if lengths.shape != (batch,):
        raise ValueError(f"{name}: expected ({batch},), got {lengths.shape}")
    wrong = lengths[(lengths < low) | (lengths > (lengths if high is None else high))]
    if wrong.size:
        limits = f"at least {low}" if high is None else f"{low} to {high}"
        raise ValueError(f"{name}: expected {limits}, got {wrong[0]}")
    return lengths.astype(np.intp)


def check_ends(lengths, steps, batch, device="cpu"):
    """Lengths (B,) from 1 to `steps` as integers on the host; None where all are `steps`.

    Where `device` is "cuda" and the caller records a CUDA graph nothing can be read: then only
    CuPy arrays are taken, whose numbers are those of the graph's launch, unchecked.
    """
    if lengths is None:
        return None
    if device == "cuda" and is_recorded():
        return check_array(lengths, "lengths", "cuda", np.int64, (batch,))
    lengths = check_lengths(lengths, "lengths", batch, 1, steps)
    return None if (lengths == steps).all() else lengths
