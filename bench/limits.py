"""What this machine can do at best, measured in the same run as the layers."""

import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from bench.idle import settle

REPEATS = 2
CACHE = Path("/sys/devices/system/cpu/cpu0/cache/index3/size")


def _best_seconds(function):
    """The shortest of a few calls: a limit is what was reached once, not what is usual."""
    settle()
    function()
    best = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - start)
    return best


def _set_threads(count):
    import gpurnn

    gpurnn.set_num_threads(count)
    if find_spec("torch") is not None:
        import torch

        torch.set_num_threads(count)


def _cpu_products(threads, size):
    import gpurnn

    _set_threads(threads)
    a, b = np.random.default_rng(1).random((2, size, size), dtype=np.float32)
    out = np.empty_like(a)
    ours = gpurnn.Linear(size, size, bias=False)
    products = {"gpurnn": lambda: ours(a), "numpy": lambda: np.matmul(a, b, out=out)}
    if find_spec("torch") is not None:
        import torch

        c, d, e = (torch.from_numpy(array) for array in (a, b, out))
        products["torch"] = lambda: torch.matmul(c, d, out=e)
    return products


def _cpu_copy(threads, size):
    source, target = np.ones((2, threads, size // threads), np.float32)
    pool = ThreadPoolExecutor(threads)
    return lambda: list(pool.map(np.copyto, target, source))


def _cuda_products(size):
    import cupy

    a = cupy.ones((size, size), np.float32)

    def product():
        cupy.matmul(a, a)
        cupy.cuda.get_current_stream().synchronize()

    return {"cupy": product}


def _cuda_copy(size):
    import cupy

    source, target = cupy.ones(size, np.float32), cupy.empty(size, np.float32)

    def copy():
        cupy.copyto(target, source)
        cupy.cuda.get_current_stream().synchronize()

    return copy


class Meter:
    """The best rates so far, in float32; `measure` again between the cases: load comes and goes."""

    def __init__(self, device, threads, product_size, copy_megabytes):
        self.threads, self._size = threads, product_size
        count = copy_megabytes * 2**20 // 4
        self._bytes = 2 * 4 * count  # read and written
        if device == "cuda":
            self._products, self._copy = _cuda_products(product_size), _cuda_copy(count)
        else:
            self._products = _cpu_products(threads, product_size)
            self._copy = _cpu_copy(threads, count)
        self.product_gflops = dict.fromkeys(self._products, 0.0)
        self.copy_gbs = 0.0

    @property
    def best_product_gflops(self):
        return max(self.product_gflops.values())

    def measure(self):
        for name, product in self._products.items():
            rate = self._rate(product)
            self.product_gflops[name] = max(self.product_gflops[name], rate)
        self.copy_gbs = max(self.copy_gbs, self._bytes / _best_seconds(self._copy) / 1e9)

    def least_seconds(self, case, mode):
        """The case's products at the best rate, or its memory traffic at the copy's."""
        product = case.flops(mode) / (1e9 * self.best_product_gflops)
        return max(product, case.bytes(mode) / (1e9 * self.copy_gbs))

    def one_thread_gflops(self):
        """The products' rates on one thread, by name; NumPy's library cannot be told so late."""
        _set_threads(1)
        try:
            products = self._products.items()
            return {name: self._rate(run) for name, run in products if name != "numpy"}
        finally:
            _set_threads(self.threads)

    def _rate(self, product):
        return 2 * self._size**3 / _best_seconds(product) / 1e9


def cache_read_gbs():
    """Rate at which all threads read the last-level cache; None where its size is not known.

    NumPy's dot product of an array of half that size with itself, on the library's threads.
    """
    try:
        size = CACHE.read_text().strip()
        count = int(size.removesuffix("K")) * 2**10 // 2 // 4
    except (OSError, ValueError):
        return None
    array = np.ones(count, np.float32)
    return 4 * count / _best_seconds(lambda: np.dot(array, array)) / 1e9
