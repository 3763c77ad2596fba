"""Whether CUDA can be used here, and if not, why not."""

from functools import cache

from .arrays import check_heads, check_size


@cache
def why_not():
    """Why kernels cannot run on a GPU here, or None if they can."""
    try:
        import cupy
    except ImportError as error:
        return f"CuPy cannot be imported ({error}): pip install 'gpurnn[cuda13]', or [cuda12]"
    try:
        if cupy.cuda.runtime.getDeviceCount() == 0:
            return "no CUDA device"
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"no CUDA device ({error})"
    try:
        from .kernels.cuda import device
    except ImportError as error:
        return f"numba-cuda cannot be imported ({error}): pip install 'gpurnn[cuda13]'"
    return device.why_not()


def is_available():
    """Whether kernels can run on a GPU here."""
    return why_not() is None


def require():
    """Raise RuntimeError, saying why, unless kernels can run on a GPU here."""
    reason = why_not()
    if reason:
        raise RuntimeError(f"CUDA is not available: {reason}")


def compute_capability():
    """That of the current device, as a pair of ints."""
    import cupy

    digits = cupy.cuda.Device().compute_capability
    return int(digits[:-1]), int(digits[-1])


def check_bfloat16():
    """Raise RuntimeError unless the current device has instructions for bfloat16."""
    capability = compute_capability()
    if capability < (8, 0):
        raise RuntimeError(
            "dtype: bfloat16 needs a GPU of compute capability 8.0 or later, got "
            f"{capability[0]}.{capability[1]}, which has float16"
        )


def schedule(name=None):
    """How recurrent layers run on CUDA: "auto", "stepwise" or "persistent".

    - "stepwise": one kernel launch a step, for any size and cell.
    - "persistent": one cooperative launch for all steps, with the recurrent weights in shared
      memory; for several layers of one direction at once, where the model finds that faster.
      RuntimeError from the layer where they do not fit, the device cannot launch cooperatively.
    - "auto": whichever of those that can run was faster when they were timed (see `autotune`), or
      else a model of the device expects to be.

    With a name, sets it for this process. Returns what is set. Raises ValueError for other
    names, RuntimeError where CUDA cannot be used.
    """
    require()
    from .kernels.cuda import schedules

    return schedules.schedule(name)


def autotune(on=None):
    """Whether the schedules and products of a shape are timed before "auto" first runs it.

    Off at first, since that takes up to a minute a shape, compiling included. What was timed is
    kept beside the compiled kernels, for each device and shape (steps rounded up to a power of
    two, up to 128), and used by "auto" in every process, whether timing is on there or not.
    Nothing is timed while a CUDA graph is recorded. With `on`, sets it for this process. Returns
    what is set. Raises RuntimeError where CUDA cannot be used.
    """
    require()
    from .kernels.cuda import schedules

    return schedules.autotune(on)


def products(name=None):
    """By what large products are made on CUDA: "auto", "cublas" or "own".

    - "cublas": by cuBLAS, but for those recorded in a CUDA graph of yours, which are "own".
    - "own": by this package's kernels: on compute capability 8.0 and later by tensor cores for
      16 bits and, where allowed (see `allow_tf32`), for float32; else by FFMA.
    - "auto": by whichever was quicker for such a shape when that was timed (see `autotune`), by
      cuBLAS for shapes that never were.

    With a name, sets it for this process. Returns what is set. Raises ValueError for other
    names, RuntimeError where CUDA cannot be used.
    """
    require()
    from .kernels.cuda import products

    return products.products(name)


def allow_tf32(on=None):
    """Whether products of float32 may round their factors to tf32, 10 bits behind the point.

    Off at first, as in PyTorch: products are then exact to the rounding of float32. Tensor cores
    multiply tf32 several times as fast; sums stay in float32. It holds for large products, by
    cuBLAS or ours, and for the persistent schedule. With `on`, sets it for this process. Returns
    what is set. Raises RuntimeError where CUDA cannot be used.
    """
    require()
    from .kernels.cuda import schedules

    return schedules.allow_tf32(on)


def explain_schedule(
    cell, hidden_size, batch, steps, dtype="float32", training=True, num_heads=1, num_layers=1
):  # fmt: skip
    """Which schedule runs a `Cell` of these sizes on the current device, and why, as a line.

    The times in it are those by which the choice is made: measured ones where there are any (see
    `autotune`), else a model's. Raises ValueError unless `num_heads` divides the hidden size and
    `num_layers` is a positive integer, RuntimeError where CUDA cannot be used.
    """
    require()
    from .kernels.cuda import schedules

    hidden = hidden_size // check_heads(num_heads, hidden_size)
    layers = check_size(num_layers, "num_layers")
    layers = layers if num_heads == 1 else 1  # heads run a layer at a time
    return schedules.explain(cell, hidden, batch, steps, dtype, training, num_heads, layers)
