"""Instructions of tensor cores and of the copies that feed them, as inline PTX.

Each function writes its instruction where an intrinsic builds its LLVM code; `builder` is
llvmlite's. Shared memory is addressed by its 32-bit addresses, in bytes. Registers are 32-bit
integers: two numbers of 16 bits, or one of tf32. With lane = 4 g + q the fragments of a product
of 16 rows by 8 columns are (PTX ISA, "Matrix Fragments for mma.m16n8k16 and mma.m16n8k8"):

- a (16, K), 4 registers: rows g, g + 8, g, g + 8; the first two of the depth's first half
- b (K, 8), 2 registers: column g; of the depth's first and second half
- sums (16, 8), 4 float32: row g columns 2q, 2q + 1; row g + 8 the same

A register holds the numbers 2q, 2q + 1 of its half of the depth (16 bits, K 16) or number q
(tf32, K 8): 4 bytes of every 16, as `load_matrices` brings them.
"""

from llvmlite import ir
from numba import types

from .device import intrinsic
from .emitting import INT32, plus

SHARED = 3
"""LLVM's number of the address space."""

_PRODUCTS = {
    "float16": "m16n8k16.row.col.f32.f16.f16.f32",
    "bfloat16": "m16n8k16.row.col.f32.bf16.bf16.f32",
    "tf32": "m16n8k8.row.col.f32.tf32.tf32.f32",
}


def kind_of(dtype):
    """What the tensor cores call the numbers of a dtype."""
    return "tf32" if dtype.itemsize == 4 else dtype.name


def _assembly(builder, text, constraints, result, arguments, side_effect=False):
    function = ir.FunctionType(result, [a.type for a in arguments])
    return builder.asm(function, text, constraints, arguments, side_effect=side_effect)


def _numbered(first, count):
    return "{" + ", ".join(f"${i}" for i in range(first, first + count)) + "}"


def multiply_fragments(builder, kind, a, b, sums):
    """The 4 sums plus the product of fragments a and b; `kind` is a key of `_PRODUCTS`."""
    text = (
        f"mma.sync.aligned.{_PRODUCTS[kind]} {_numbered(0, 4)}, {_numbered(4, 4)}, "
        f"{_numbered(8, 2)}, {_numbered(10, 4)};"
    )
    four = ir.LiteralStructType([ir.FloatType()] * 4)
    constraints = "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f"
    found = _assembly(builder, text, constraints, four, [*a, *b, *sums])
    return [builder.extract_value(found, i) for i in range(4)]


def load_matrices(builder, address, transposed=False):
    """4 registers, of 4 matrices of 8 rows by 16 bytes: of each, row g's 4 bytes from 4q on.

    Lane 8 i + r gives the address of row r of matrix i. `transposed`, of numbers of 16 bits: row
    g of the transposed matrix.
    """
    how = ".trans" if transposed else ""
    text = f"ldmatrix.sync.aligned.m8n8.x4{how}.shared.b16 {_numbered(0, 4)}, [$4];"
    four = ir.LiteralStructType([INT32] * 4)
    constraints = "=r,=r,=r,=r,r,~{memory}"
    found = _assembly(builder, text, constraints, four, [address], side_effect=True)
    return [builder.extract_value(found, i) for i in range(4)]


def convert(builder, kind, *numbers):
    """A register of a float32 rounded to tf32 (tensor cores would cut it off), or of two rounded
    to 16 bits, the first in the lower half. A float32 may come as its bits."""
    names = {"float16": "rn.f16x2", "bfloat16": "rn.bf16x2", "tf32": "rna.tf32"}
    operands = ", ".join(f"${i}" for i in range(len(numbers), 0, -1))
    letter = "f" if numbers[0].type == ir.FloatType() else "r"
    constraints = ",".join(["=r"] + [letter] * len(numbers))
    return _assembly(builder, f"cvt.{names[kind]}.f32 $0, {operands};", constraints, INT32, numbers)


def shared_pointer(builder, address, element, offset=0):
    """A pointer to values of LLVM type `element`, `offset` bytes behind an address."""
    return builder.inttoptr(plus(builder, address, offset), ir.PointerType(element, SHARED))


@intrinsic
def shared_address(typingctx, pointer):
    """The 32-bit address of what a pointer to shared memory points to."""

    def codegen(context, builder, signature, arguments):
        (pointer,) = arguments
        near = builder.addrspacecast(pointer, ir.PointerType(pointer.type.pointee, SHARED))
        return builder.ptrtoint(near, INT32)

    return types.int32(pointer), codegen


@intrinsic
def copy_async(typingctx, address, source, index, count):
    """Begin to copy 16 bytes from source[index] on to a shared address; both multiples of 16.

    Only the first `count` numbers are read; the rest becomes 0.
    """

    def codegen(context, builder, signature, arguments):
        address, source, index, count = arguments
        size = ir.Constant(INT32, signature.args[1].dtype.bitwidth // 8)
        bytes_read = builder.mul(builder.trunc(count, INT32), size)
        text = "cp.async.cg.shared.global [$0], [$1], 16, $2;"
        operands = [address, builder.gep(source, [index]), bytes_read]
        _assembly(builder, text, "r,l,r,~{memory}", ir.VoidType(), operands, side_effect=True)
        return context.get_dummy_value()

    return types.void(types.int32, source, types.int64, types.int64), codegen


@intrinsic
def commit_copies(typingctx):
    """Close a group of copies, of those begun since the last."""

    def codegen(context, builder, signature, arguments):
        text = "cp.async.commit_group;"
        _assembly(builder, text, "~{memory}", ir.VoidType(), [], side_effect=True)
        return context.get_dummy_value()

    return types.void(), codegen


def wait_for_copies(groups):
    """A function () that waits until at most so many of the thread's groups are under way."""

    @intrinsic
    def wait(typingctx):
        def codegen(context, builder, signature, arguments):
            text = f"cp.async.wait_group {groups};"
            _assembly(builder, text, "~{memory}", ir.VoidType(), [], side_effect=True)
            return context.get_dummy_value()

        return types.void(), codegen

    return wait


@intrinsic
def store_shared(typingctx, address, index, value):
    """Write number `index` behind a shared address."""

    def codegen(context, builder, signature, arguments):
        address, index, value = arguments
        pointer = shared_pointer(builder, address, value.type)
        builder.store(value, builder.gep(pointer, [index]))
        return context.get_dummy_value()

    return types.void(types.int32, types.int64, value), codegen


def load_shared(element):
    """A function (address, index) -> number `index`, of a Numba type, behind a shared address."""

    @intrinsic
    def load(typingctx, address, index):
        def codegen(context, builder, signature, arguments):
            pointer = shared_pointer(builder, arguments[0], context.get_value_type(element))
            return builder.load(builder.gep(pointer, arguments[1:]))

        return element(types.int32, types.int64), codegen

    return load
