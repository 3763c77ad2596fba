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
    from llvmlite import ir
    from numba import types

    from gpurnn.kernels.cuda.device import intrinsic

    def four(kinds):
        return types.UniTuple(types.uint32, 4)(*kinds)

    def codegen(context, builder, signature, arguments):
        lists = [
            [builder.extract_value(argument, i) for i in range(count)]
            for argument, count in zip(arguments, counts)
        ]
        packed = ir.Constant(ir.ArrayType(ir.IntType(32), 4), ir.Undefined)
        for i, register in enumerate(build(builder, *(lists or arguments))):
            bits = builder.bitcast(register, ir.IntType(32))
            packed = builder.insert_value(packed, bits, i)
        return packed

    if counts:
        return intrinsic(lambda typingctx, a, b, sums: (four((a, b, sums)), codegen))
    return intrinsic(lambda typingctx, address: (four((address,)), codegen))


def product_kernel(kind):
    from llvmlite import ir
    from numba import types

    from gpurnn.kernels.cuda.device import cuda
    from gpurnn.kernels.cuda.launching import Kernel
    from gpurnn.kernels.cuda.tensor_cores import multiply_fragments
    from gpurnn.kernels.cuda.tuples import gather, scatter

    def build(builder, a, b, sums):
        sums = [builder.bitcast(register, ir.FloatType()) for register in sums]
        return multiply_fragments(builder, kind, a, b, sums)

    multiply, two, four, put_four = registers(build, 4, 2, 4), gather(2), gather(4), scatter(4)

    def run(a, b, sums, out):
        lane = cuda.threadIdx.x
        found = multiply(four(a, 4 * lane, 1), two(b, 2 * lane, 1), four(sums, 4 * lane, 1))
        put_four(out, 4 * lane, 1, found)

    return Kernel(f"test of fragments {kind}", run, (types.CPointer(types.uint32),) * 4)


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "tf32"])
def test_products_of_fragments(kind):
    """Small integers, which all kinds have, so that the sums are exact."""
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

    found = launch(
        product_kernel(kind), as_registers(of_a), as_registers(of_b),
        of_sums.astype("float32").view(np.uint32),
    )  # fmt: skip
    wanted = np.concatenate([(a @ b + sums)[row[:, None], columns] for row in (G, G + 8)], axis=1)
    np.testing.assert_array_equal(found.view("float32"), wanted)


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
