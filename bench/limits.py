"""What this machine can do at best, measured in the same run as the layers."""

import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import numpy as np

REPEATS = 3


def _best_seconds(function):
    """The shortest of a few calls: a limit is what was reached once, not what is usual."""
    function()
    best = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - start)
    return best


def _cpu_products(threads, size):
    a, b = np.random.default_rng(1).random((2, size, size), dtype=np.float32)
    out = np.empty_like(a)
    products = {"numpy": lambda: np.matmul(a, b, out=out)}
    if find_spec("torch") is not None:
        import torch

        torch.set_num_threads(threads)
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
        self._flops, count = 2 * product_size**3, copy_megabytes * 2**20 // 4
        self._bytes = 2 * 4 * count  # read and written
        if device == "cuda":
            self._products, self._copy = _cuda_products(product_size), _cuda_copy(count)
        else:
            self._products = _cpu_products(threads, product_size)
            self._copy = _cpu_copy(threads, count)
        self.product_gflops = dict.fromkeys(self._products, 0.0)
        self.copy_gbs = 0.0

    def measure(self):
        for name, product in self._products.items():
            rate = self._flops / _best_seconds(product) / 1e9
            self.product_gflops[name] = max(self.product_gflops[name], rate)
        self.copy_gbs = max(self.copy_gbs, self._bytes / _best_seconds(self._copy) / 1e9)

    def least_seconds(self, case, mode):
        """The case's products at the best rate, or its memory traffic at the copy's."""
        product = case.flops(mode) / (1e9 * max(self.product_gflops.values()))
        return max(product, case.bytes(mode) / (1e9 * self.copy_gbs))
