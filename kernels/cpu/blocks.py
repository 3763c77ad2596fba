"""The innermost product: one block of C, held in registers over the whole depth of the product.

    C[r, :] = start[r, :] + sum over k of A[r, k] * panel[k, :]       r = 0 .. rows - 1

A is read a number at a time and spread over a register, the panel a register at a time. With
R rows and V registers a row, R V fused multiply-adds need only R + V loads.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .simd import REGISTER_BYTES, Vector, llvm_call, splat, vector_ir

# Accumulators must fit in the register file beside a row of the panel: 32 registers with
# AVX-512, 16 elsewhere (NEON has 32, and is content with these blocks too).
ROWS, VECTORS = (8, 3) if REGISTER_BYTES == 64 else (6, 2)


def _load_vectors(builder, pointer, vector):
    wide = vector_ir(vector)
    size = vector.element.bitwidth // 8
    return [
        builder.load(builder.bitcast(p, wide.as_pointer()), align=size)
        for p in _vector_pointers(builder, pointer, vector)
    ]


def _vector_pointers(builder, pointer, vector):
    return [
        builder.gep(pointer, [ir.Constant(ir.IntType(64), v * vector.lanes)])
        for v in range(VECTORS)
    ]


def _emit_block(builder, vector, a_pointers, a_step, first_row, c_pointers, depth, resume):
    """Emit the product of a block of as many rows as there are pointers."""
    wide, size = vector_ir(vector), vector.element.bitwidth // 8
    one = ir.Constant(depth.type, 1)
    begin = []
    for pointer in c_pointers:
        # The block starts from what C holds, or from the row that heads the panel: the bias.
        begin += _load_vectors(builder, builder.select(resume, pointer, first_row), vector)
    before, loop = builder.block, builder.append_basic_block("depth")
    after = builder.append_basic_block("done")
    some = builder.icmp_signed(">", depth, ir.Constant(depth.type, 0))
    builder.cbranch(some, loop, after)

    builder.position_at_end(loop)
    k = builder.phi(depth.type)
    sums = [builder.phi(wide) for _ in begin]
    following = builder.add(k, one)
    offset = builder.mul(following, ir.Constant(depth.type, VECTORS * vector.lanes))
    across = _load_vectors(builder, builder.gep(first_row, [offset]), vector)
    fused, reach = [], builder.mul(k, a_step)
    for r, pointer in enumerate(a_pointers):
        value = splat(builder, builder.load(builder.gep(pointer, [reach])), vector.lanes)
        for v in range(VECTORS):
            operands = (value, across[v], sums[r * VECTORS + v])
            fused.append(llvm_call(builder, "fma", wide, operands))
    builder.cbranch(builder.icmp_signed("<", following, depth), loop, after)
    k.add_incoming(ir.Constant(depth.type, 0), before)
    k.add_incoming(following, loop)

    builder.position_at_end(after)
    for r, pointer in enumerate(c_pointers):
        for v, place in enumerate(_vector_pointers(builder, pointer, vector)):
            i = r * VECTORS + v
            result = _merge(builder, wide, (begin[i], before), (fused[i], loop))
            sums[i].add_incoming(begin[i], before)
            sums[i].add_incoming(fused[i], loop)
            builder.store(result, builder.bitcast(place, wide.as_pointer()), align=size)


def _merge(builder, type_, *incoming):
    with builder.goto_block(builder.block):
        builder.position_at_start(builder.block)
        phi = builder.phi(type_)
    for value, block in incoming:
        phi.add_incoming(value, block)
    return phi


@intrinsic
def multiply_block(
    typingctx, rows, a, a_offsets, row, a_step, panel, start,
    c, c_offsets, c_row, column, depth, resume,
):  # fmt: skip
    """Product of a block of `rows` (1 to ROWS) rows and one panel, see the head of this file.

    Row r of A begins at element `a_offsets[row + r]` of `a`, its elements lie `a_step` apart; the
    panel begins at `start` of `panel`; row r of C at `c_offsets[c_row + r] + column` of `c`.
    Starts from C if `resume`, else from the panel's first row. Writes VECTORS whole vectors a row.
    """
    vector, intp = Vector(a.dtype), types.intp

    def codegen(context, builder, sig, args):
        def data(i):
            return context.make_array(sig.args[i])(context, builder, args[i]).data

        a_data, a_rows, panel_data, c_data, c_rows = (data(i) for i in (1, 2, 5, 7, 8))
        first_row = builder.gep(panel_data, [args[6]])

        def pointers(base, offsets, first, column, count):
            for r in range(count):
                index = builder.add(first, ir.Constant(first.type, r))
                offset = builder.load(builder.gep(offsets, [index]))
                yield builder.gep(base, [builder.add(offset, column)])

        # One machine loop for each height: a choice made inside, for a call costs as much as
        # ten steps of the depth.
        end = builder.append_basic_block("multiplied")
        choice = builder.switch(args[0], end)
        for count in range(1, ROWS + 1):
            block = builder.append_basic_block(f"rows_{count}")
            choice.add_case(ir.Constant(args[0].type, count), block)
            builder.position_at_end(block)
            a_pointers = list(
                pointers(a_data, a_rows, args[3], ir.Constant(args[3].type, 0), count)
            )
            c_pointers = list(pointers(c_data, c_rows, args[9], args[10], count))
            _emit_block(
                builder, vector, a_pointers, args[4], first_row, c_pointers, args[11], args[12]
            )
            builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    arguments = (
        intp, a, a_offsets, intp, intp, panel, intp,
        c, c_offsets, intp, intp, intp, types.boolean,
    )  # fmt: skip
    return types.void(*arguments), codegen
