"""What the tensor cores' instructions hold where: one warp, one instruction, against NumPy."""

import numpy as np
import pytest

from tests.cases import get, put

pytestmark = pytest.mark.cuda

LANES = np.arange(32)
G, Q = LANES // 4, LANES % 4


@pytest.fixture(autouse=True)
def compile_anew(monkeypatch):
    """The cache knows the sources of the package, not those of a test's kernels."""
    from gpurnn.kernels.cuda import launching

    monkeypatch.setattr(launching, "load_bytes", lambda target, key: None)
    monkeypatch.setattr(launching, "save_bytes", lambda target, key, data: None)


def launch(kernel, *arrays):
    """The registers (32, 4) that a warp writes to the kernel's last argument."""
    import cupy

    out = cupy.zeros((32, 4), np.uint32)
    arrays = [put(a, "cuda") for a in arrays]
    kernel((1, 1, 1), (32, 1, 1), *(a.data.ptr for a in (*arrays, out)))
    return get(out)


def registers(build, *counts):
    """An intrinsic: of tuples of so many registers build(builder, lists) makes four."""
    from numba import types

    from gpurnn.kernels.cuda.device import intrinsic
    from gpurnn.kernels.cuda.emitting import INT32, packed, unpacked

    def four(kinds):
        return types.UniTuple(types.uint32, 4)(*kinds)

    def codegen(context, builder, signature, arguments):
        lists = [unpacked(builder, *of) for of in zip(arguments, counts)]
        made = build(builder, *(lists or arguments))
        return packed(builder, [builder.bitcast(register, INT32) for register in made])

    if counts:
        return intrinsic(lambda typingctx, a, b, sums: (four((a, b, sums)), codegen))
    return intrinsic(lambda typingctx, address: (four((address,)), codegen))


def kernel_of(name, build):
    """A kernel (a, b, sums, out) whose lanes write build(builder, 4 of a, 2 of b, 4 floats)."""
    from llvmlite import ir
    from numba import types

    from gpurnn.kernels.cuda.device import cuda
    from gpurnn.kernels.cuda.launching import Kernel
    from gpurnn.kernels.cuda.tuples import gather, scatter

    def with_floats(builder, a, b, sums):
        return build(builder, a, b, [builder.bitcast(n, ir.FloatType()) for n in sums])

    make, two, four, put_four = registers(with_floats, 4, 2, 4), gather(2), gather(4), scatter(4)

    def run(a, b, sums, out):
        lane = cuda.threadIdx.x
        found = make(four(a, 4 * lane, 1), two(b, 2 * lane, 1), four(sums, 4 * lane, 1))
        put_four(out, 4 * lane, 1, found)

    return Kernel(f"test of {name}", run, (types.CPointer(types.uint32),) * 4)


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "tf32"])
def test_products_of_fragments(kind):
    """Small integers, which all kinds have, so that the sums are exact."""
    from gpurnn.kernels.cuda.tensor_cores import multiply_fragments

    pytest.importorskip("ml_dtypes", reason="bfloat16 needs ml_dtypes")
    dtype = np.dtype("float32" if kind == "tf32" else kind)
    depth, numbers = 32 // dtype.itemsize, 4 // dtype.itemsize  # of a product, of a register
    rng = np.random.default_rng(0)
    a, b = rng.integers(-8, 9, (16, depth)), rng.integers(-8, 9, (depth, 8))
    sums = rng.integers(-99, 99, (16, 8))
    k = numbers * Q[:, None] + np.arange(numbers)  # of each lane, in the depth's first half
    halves = (k, k + depth // 2)
    of_a = [a[row[:, None], k] for k in halves for row in (G, G + 8)]
    of_b = [b[k, G[:, None]] for k in halves]
    columns = 2 * Q[:, None] + np.arange(2)
    of_sums = np.concatenate([sums[row[:, None], columns] for row in (G, G + 8)], axis=1)

    def as_registers(parts):
        return np.stack([part.astype(dtype).view(np.uint32)[:, 0] for part in parts], axis=1)

    kernel = kernel_of(kind, lambda builder, *of: multiply_fragments(builder, kind, *of))
    floats = of_sums.astype("float32").view(np.uint32)
    found = launch(kernel, as_registers(of_a), as_registers(of_b), floats)
    wanted = np.concatenate([(a @ b + sums)[row[:, None], columns] for row in (G, G + 8)], axis=1)
    np.testing.assert_array_equal(found.view("float32"), wanted)


def test_numbers_round_to_registers():
    """Two to float16, two to bfloat16, two to tf32."""
    from gpurnn.kernels.cuda.tensor_cores import convert

    ml_dtypes = pytest.importorskip("ml_dtypes", reason="bfloat16 needs ml_dtypes")

    def build(builder, a, b, sums):
        halves = [convert(builder, kind, *sums[:2]) for kind in ("float16", "bfloat16")]
        return halves + [convert(builder, "tf32", number) for number in sums[2:]]

    numbers = np.random.default_rng(0).standard_normal((32, 4)).astype("float32")
    bits = numbers.view(np.uint32)
    unused = np.zeros((32, 4), np.uint32)
    found = launch(kernel_of("rounding", build), unused, unused, bits)
    for i, half in enumerate((np.float16, ml_dtypes.bfloat16)):
        wanted = np.ascontiguousarray(numbers[:, :2].astype(half)).view(np.uint32)[:, 0]
        np.testing.assert_array_equal(found[:, i], wanted)
    np.testing.assert_array_equal(found[:, 2:], bits[:, 2:] + 0x1000 & 0xFFFFE000)


@pytest.mark.parametrize("transposed", [False, True])
def test_matrices_from_shared_memory(transposed):
    from numba import types

    from gpurnn.kernels.cuda.device import cuda
    from gpurnn.kernels.cuda.intrinsics import pointer_to
    from gpurnn.kernels.cuda.launching import Kernel
    from gpurnn.kernels.cuda.tensor_cores import load_matrices, shared_address
    from gpurnn.kernels.cuda.tuples import gather, scatter

    load = registers(lambda builder, address: load_matrices(builder, address, transposed))
    four, put_four = gather(4), scatter(4)

    def run(numbers, out):
        lane, memory = cuda.threadIdx.x, cuda.shared.array(128, types.uint32, alignment=16)
        shared = pointer_to(memory)
        put_four(shared, 4 * lane, 1, four(numbers, 4 * lane, 1))
        cuda.syncthreads()
        address = types.int32(shared_address(shared) + 16 * lane)
        put_four(out, 4 * lane, 1, load(address))

    pointer = types.CPointer(types.uint32)
    kernel = Kernel(f"test of matrices {transposed}", run, (pointer, pointer))
    matrices = np.random.default_rng(0).integers(0, 2**16, (4, 8, 8)).astype(np.uint16)
    found = launch(kernel, matrices).view(np.uint16).reshape(32, 4, 2)
    wanted = matrices.swapaxes(1, 2) if transposed else matrices
    for i, matrix in enumerate(wanted):
        np.testing.assert_array_equal(found[:, i], matrix[G[:, None], 2 * Q[:, None] + [0, 1]])
