"""The innermost product: one block of C, held in registers over the whole depth of the product.

    C[r, :] = start[r, :] + sum over k of A[r, k] * panel[k, :]       r = 0 .. rows - 1

A is read a number at a time and spread over a register, the panel a register at a time. With
R rows and V registers a row, R V fused multiply-adds need only R + V loads.
"""

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from .simd import REGISTER_BYTES, Vector, _llvm_call, _splat, _vector_ir

# Accumulators must fit in the register file beside a row of the panel: 32 registers with
# AVX-512, 16 elsewhere (NEON has 32, and is content with these blocks too).
ROWS, VECTORS = (8, 3) if REGISTER_BYTES == 64 else (6, 2)


def _block_of(rows):
    """The product of a block of exactly `rows` rows."""

    @intrinsic
    def multiply(typingctx, a, a_offsets, row, panel, start, c, c_offsets, c_row, column, depth, resume):
        vector = Vector(a.dtype)

        def codegen(context, builder, sig, args):
            def data(ty, value):
                return context.make_array(ty)(context, builder, value).data

            a_data, panel_data, c_data = data(a, args[0]), data(panel, args[3]), data(c, args[5])
            a_rows, c_rows = data(a_offsets, args[1]), data(c_offsets, args[6])
            depth_, wide = args[9], _vector_ir(vector)
            size = vector.element.bitwidth // 8
            intp = args[2].type

            def number(n):
                return ir.Constant(intp, n)

            def at(pointer, *offsets):
                for offset in offsets:
                    pointer = builder.gep(pointer, [offset])
                return pointer

            def vectors_at(pointer):
                return [
                    builder.bitcast(at(pointer, number(v * vector.lanes)), wide.as_pointer())
                    for v in range(VECTORS)
                ]

            first_row = at(panel_data, args[4])
            a_pointers, c_pointers = [], []
            for r in range(rows):
                a_row = builder.load(at(a_rows, args[2], number(r)))
                c_row_ = builder.load(at(c_rows, args[7], number(r)))
                a_pointers.append(at(a_data, a_row))
                c_pointers.append(at(c_data, c_row_, args[8]))
            # The block starts from what C holds, or from the row that heads the panel: the bias.
            begin = [
                builder.load(p, align=size)
                for pointer in c_pointers
                for p in vectors_at(builder.select(args[10], pointer, first_row))
            ]

            before, loop = builder.block, builder.append_basic_block("depth")
            after = builder.append_basic_block("done")
            some = builder.icmp_signed(">", depth_, number(0))
            builder.cbranch(some, loop, after)
            builder.position_at_end(loop)
            k = builder.phi(intp)
            k.add_incoming(number(0), before)
            sums = [builder.phi(wide) for _ in begin]
            for phi, value in zip(sums, begin):
                phi.add_incoming(value, before)
            here = builder.mul(builder.add(k, number(1)), number(VECTORS * vector.lanes))
            across = [builder.load(p, align=size) for p in vectors_at(at(first_row, here))]
            fused = []
            for r in range(rows):
                value = _splat(builder, builder.load(at(a_pointers[r], k)), vector.lanes)
                for v in range(VECTORS):
                    operands = (value, across[v], sums[r * VECTORS + v])
                    fused.append(_llvm_call(builder, "fma", wide, operands))
            following = builder.add(k, number(1))
            k.add_incoming(following, loop)
            for phi, value in zip(sums, fused):
                phi.add_incoming(value, loop)
            builder.cbranch(builder.icmp_signed("<", following, depth_), loop, after)
            builder.position_at_end(after)
            results = []
            for first, last in zip(begin, fused):
                result = builder.phi(wide)
                result.add_incoming(first, before)
                result.add_incoming(last, loop)
                results.append(result)
            for r, pointer in enumerate(c_pointers):
                for p, value in zip(vectors_at(pointer), results[r * VECTORS :]):
                    builder.store(value, p, align=size)
            return context.get_dummy_value()

        arguments = (
            a, a_offsets, types.intp, panel, types.intp,
            c, c_offsets, types.intp, types.intp, types.intp, types.boolean,
        )  # fmt: skip
        return types.void(*arguments), codegen

    return multiply


def _block_up_to(most):
    """The product of a block of any number of rows from 1 to `most`."""
    exact = _block_of(most)

    if most == 1:

        @njit
        def multiply(rows, a, a_offsets, row, panel, start, c, c_offsets, c_row, column, depth, resume):
            exact(a, a_offsets, row, panel, start, c, c_offsets, c_row, column, depth, resume)
    else:
        fewer = _block_up_to(most - 1)

        @njit
        def multiply(rows, a, a_offsets, row, panel, start, c, c_offsets, c_row, column, depth, resume):
            if rows == most:
                exact(a, a_offsets, row, panel, start, c, c_offsets, c_row, column, depth, resume)
            else:
                fewer(
                    rows, a, a_offsets, row, panel, start,
                    c, c_offsets, c_row, column, depth, resume,
                )  # fmt: skip

    return multiply


multiply_block = _block_up_to(ROWS)
"""Product of a block of `rows` (1 to ROWS) rows and one panel, see the head of this file.

Row r of A begins at element `a_offsets[row + r]` of `a`, the panel at `start` of `panel`, row r
of C at `c_offsets[c_row + r] + column` of `c`.
Starts from C if `resume`, else from the panel's first row. Writes VECTORS whole vectors a row.
"""
