"""The number of threads, told to every library before any of them loads."""

import os

VARIABLES = (
    "OPENBLAS_NUM_THREADS",  # NumPy
    "OMP_NUM_THREADS",  # PyTorch
    "MKL_NUM_THREADS",
    # JAX: XLA's pool has as many threads as it takes the machine to have cores. The flags one
    # finds recommended (xla_cpu_multi_thread_eigen, intra_op_parallelism_threads) change nothing
    # in JAX 0.10: the pool goes on using all cores.
    "NPROC",
    "PJRT_NPROC",
)


def usable_cores():
    affinity = getattr(os, "sched_getaffinity", None)  # Linux: what a container may use
    return len(affinity(0)) if affinity else os.cpu_count()


def limit_threads(count):
    """To be called before NumPy is imported; ONNX Runtime and OpenVINO are told when made."""
    for name in VARIABLES:
        os.environ[name] = str(count)
