"""Large products on CUDA, by tensor cores, by FFMA, by cuBLAS: the numbers; who makes them."""

from dataclasses import replace

import numpy as np
import pytest

import gpurnn
from tests.cases import get, put

pytestmark = pytest.mark.cuda

# Unit roundoffs: of a product's factors, of its sums, of what is written.
ROUNDOFFS = {
    "float64": (0, 2**-53, 2**-53),
    "float32": (0, 2**-24, 2**-24),
    "tf32": (2**-11, 2**-24, 2**-24),
    "float16": (0, 2**-24, 2**-11),
    "bfloat16": (0, 2**-24, 2**-8),
}

# How a's rows and b's columns lie: a Bᵀ, a b, aᵀ b, and aᵀ bᵀ, which no layer needs.
LAYOUTS = {"nt": (True, True), "nn": (True, False), "tn": (False, False), "tt": (False, True)}


@pytest.fixture(autouse=True)
def as_before():
    pytest.importorskip("ml_dtypes", reason="bfloat16 needs ml_dtypes")
    yield
    gpurnn.cuda.products("auto")
    gpurnn.cuda.allow_tf32(False)
    gpurnn.cuda.autotune(False)


def device_of(multiprocessors):
    """The device with so many multiprocessors: one gets the largest tiles, many split the depth."""
    from gpurnn.kernels.cuda.schedules import device_here

    return replace(device_here(0), multiprocessors=multiprocessors)


def matrix(numbers, along, aligned):
    """On the device, its rows or its columns contiguous, amid NaN that a product must not touch."""
    import cupy

    numbers = numbers if along else numbers.T
    rows, columns = numbers.shape
    lanes = 16 // numbers.itemsize
    pitch = -(-columns // lanes) * lanes + (0 if aligned else 1)
    wide = cupy.full((rows, pitch), np.nan, numbers.dtype)
    wide[:, :columns] = put(numbers, "cuda")
    found = wide[:, :columns]
    return found if along else found.T


CASES = [
    ("float32", "nt", 1), ("float32", "tn", 132), ("tf32", "nt", 132), ("tf32", "tn", 132),
    ("float16", "nt", 1), ("float16", "tt", 132), ("bfloat16", "tn", 132), ("float64", "nn", 1),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "layout", "multiprocessors"), CASES)
def test_products_of_ours(kind, layout, multiprocessors):
    """Of any size: no number outside of a matrix is read or written."""
    from gpurnn.kernels.cuda.own_product import multiply_own

    rng, tf32 = np.random.default_rng(0), kind == "tf32"
    dtype = put(np.zeros(1, "float32" if tf32 else kind), "cuda").dtype
    device, (a_along, b_along) = device_of(multiprocessors), LAYOUTS[layout]
    for size, aligned, add in [
        ((1, 1, 1), False, False), ((33, 100, 39), False, True), ((129, 3, 40), True, True),
            ((3, 33, 520), True, False),
        ]:  # fmt: skip
        rows, columns, depth = size
        a = matrix(rng.standard_normal((rows, depth)).astype(dtype), a_along, aligned)
        b = matrix(rng.standard_normal((depth, columns)).astype(dtype), b_along, aligned)
        out = put(rng.standard_normal((rows, columns)).astype(dtype), "cuda")
        a64, b64, before = (get(m).astype("float64") for m in (a, b, out))
        multiply_own(a, b, out, add, device, tensor=kind not in ("float32", "float64"))
        wanted = a64 @ b64 + add * before
        error = np.abs(get(out).astype("float64") - wanted)
        of_factors, of_sums, of_result = ROUNDOFFS[kind]
        bound = (2.1 * of_factors + (depth + 1) * of_sums) * (np.abs(a64) @ np.abs(b64) + 1e-30)
        bound += of_result * np.abs(wanted) + of_sums * np.abs(before)
        assert (error <= bound).all(), (size, (error / bound).max())


@pytest.mark.parametrize(("kind", "layout"), [("float32", "a bT"), ("float16", "aT b")])
def test_accesses_meet_in_no_bank(kind, layout):
    """As the emulated device counts them; of global memory all is asked for that is moved."""
    from bench import cuda_accesses

    if not cuda_accesses.ON_EMULATOR:
        pytest.skip("needs the emulated device's counters")
    asked, loads, stores = cuda_accesses.product_accesses(kind, layout)
    assert loads == stores == 1
    assert asked > 0.97, "but for tiles at the edges"


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_cublas(dtype):
    from gpurnn.kernels.cuda.products import multiply

    rng = np.random.default_rng(0)
    gpurnn.cuda.products("cublas")
    for along, tf32 in ((True, False), (False, True)):
        gpurnn.cuda.allow_tf32(tf32)
        a = matrix(rng.standard_normal((5, 37)).astype(dtype), along, False)
        b = matrix(rng.standard_normal((37, 3)).astype(dtype), not along, False)
        out = put(np.ones((5, 3), dtype), "cuda")
        multiply(a, b, out, add=True)
        wanted = get(a).astype("float64") @ get(b).astype("float64") + 1
        atol = 40 * max(ROUNDOFFS["tf32" if tf32 and dtype == "float32" else dtype])
        np.testing.assert_allclose(get(out).astype("float64"), wanted, rtol=0, atol=atol)


def test_a_layer_of_our_products():
    """The same numbers as with cuBLAS's; with tf32 but for its rounding."""
    rng = np.random.default_rng(0)
    layer = gpurnn.Linear(37, 5, device="cuda", rng=1)
    x, dy = (put(rng.standard_normal((9, n)).astype("float32"), "cuda") for n in (37, 5))

    def run():
        layer.zero_grads()
        y, backward = layer.forward(x)
        return [get(array) for array in (y, backward(dy), *layer.grads.values())]

    expected = run()
    gpurnn.cuda.products("own")
    for found, wanted in zip(run(), expected):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)
    gpurnn.cuda.allow_tf32(True)
    assert 1e-5 < np.abs(get(layer(x)) - expected[0]).max() < 1e-2


def test_the_quicker_is_timed_and_remembered(monkeypatch):
    from gpurnn.kernels.cuda import products

    kept, made = {}, []
    monkeypatch.setattr(products, "load_bytes", lambda target, key: kept.get(key))
    monkeypatch.setattr(products, "save_bytes", lambda target, key, data: kept.update({key: data}))
    monkeypatch.setattr(products, "seconds_of", lambda call: call() or len(made))
    monkeypatch.setattr(
        products, "_BY", {n: lambda *_, n=n: made.append(n) for n in ("own", "cublas")}
    )
    products._remembered.cache_clear()
    a, b, out = (put(np.zeros(shape, "float32"), "cuda") for shape in ((5, 6), (6, 7), (5, 7)))
    products.multiply(a, b, out)
    gpurnn.cuda.autotune(True)
    products.multiply(a, b, out)
    gpurnn.cuda.autotune(False)
    products._remembered.cache_clear()
    products.multiply(a, b, out)
    assert made == ["cublas", "own", "cublas", "own", "own"], "ours was timed first, so quicker"
    products.multiply(put(np.zeros((9, 6), "float32"), "cuda"), b, out)
    assert made[-1] == "cublas", "9 rows are another shape"
    products._remembered.cache_clear()


def test_choices():
    with pytest.raises(ValueError, match=r"products: expected one of \('auto', 'cublas', 'own'\)"):
        gpurnn.cuda.products("mkl")
    assert gpurnn.cuda.products() == "auto" and not gpurnn.cuda.allow_tf32()
