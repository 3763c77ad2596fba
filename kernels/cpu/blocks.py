"""The innermost product: one block of C, held in registers over the whole depth of the product.

    C[r, :] = start[r, :] + sum over k of A[r, k] * panel[k, :]       r = 0 .. rows - 1

A is read a number at a time and spread over a register, the panel a register at a time. With
R rows and V registers a row, R V fused multiply-adds need only R + V loads.
"""

from functools import cache

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .simd import REGISTER_BYTES, Vector, array_data, declare, llvm_call, splat, vector_ir

# Accumulators must fit in the register file beside a row of the panel: 32 registers with
# AVX-512, 16 elsewhere (NEON has 32, and is content with these blocks too). AVX-512 has room for
# three vectors, but 32 columns divide what 48 leave half a panel of: of 64 units a third is gained.
# 14 rows of 1024 numbers would drive each other from the first-level cache.
ROWS, VECTORS = (10, 2) if REGISTER_BYTES == 64 else (6, 2)


def panels_together(rows):
    """How many panels to work on at once, so that few rows keep the multipliers busy too.

    Multiply-adds take 4 cycles and two begin in each: it takes 8 sums or more at a time.
    """
    return min(4, ROWS // rows)


def _fetch(builder, pointer, writes, cache):
    """Fetch a line that will be read, or written, soon, into the first- or second-level `cache`."""
    byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
    locality, of_data = number(4 - cache), number(1)
    arguments = builder.bitcast(pointer, byte), number(int(writes)), locality, of_data
    builder.call(declare(builder, "llvm.prefetch.p0", kind), arguments)


def _load_vectors(builder, pointers, vector):
    wide = vector_ir(vector)
    size = vector.element.bitwidth // 8
    return [builder.load(builder.bitcast(p, wide.as_pointer()), align=size) for p in pointers]


def _places(builder, pointer, pitch, panels, lanes):
    """The pointers to the vectors of a row, of one panel after the other."""
    places = []
    for panel in range(panels):
        start = builder.gep(pointer, [builder.mul(pitch, ir.Constant(pitch.type, panel))])
        places += [builder.gep(start, [ir.Constant(pitch.type, v * lanes)]) for v in range(VECTORS)]
    return places


def _emit_block(
    builder, vector, a_pointers, a_step, first_row, pitch, panels, c_pointers, depth, resume,
):  # fmt: skip
    """Emit the product of as many rows as there are pointers and of `panels` panels."""
    wide, size, lanes = vector_ir(vector), vector.element.bitwidth // 8, vector.lanes
    one, width = ir.Constant(depth.type, 1), ir.Constant(depth.type, VECTORS * lanes)
    across = VECTORS * panels
    # The block starts from what C holds, or from the rows that head the panels: the bias.
    heads = _places(builder, first_row, pitch, panels, lanes)
    c_places = [_places(builder, pointer, width, panels, lanes) for pointer in c_pointers]
    begin = []
    for places in c_places:
        starts = [builder.select(resume, c, head) for c, head in zip(places, heads)]
        begin += _load_vectors(builder, starts, vector)
    # What follows in C, for the same rows with the next panels: they are far apart in memory, more
    # rows than a processor foresees, and would be waited for.
    following = ir.Constant(depth.type, across * lanes)
    with builder.if_then(resume):
        for place in (place for places in c_places for place in places):
            _fetch(builder, builder.gep(place, [following]), writes=True, cache=1)
    before, loop = builder.block, builder.append_basic_block("depth")
    after = builder.append_basic_block("done")
    some = builder.icmp_signed(">", depth, ir.Constant(depth.type, 0))
    builder.cbranch(some, loop, after)

    builder.position_at_end(loop)
    k = builder.phi(depth.type)
    sums = [builder.phi(wide) for _ in begin]
    following = builder.add(k, one)
    row = builder.gep(first_row, [builder.mul(following, width)])
    places, reach = _places(builder, row, pitch, panels, lanes), builder.mul(k, a_step)

    def spread(pointer):
        return splat(builder, builder.load(builder.gep(pointer, [reach])), lanes)

    if panels_together(len(a_pointers)) == 1:
        for place in places:
            _fetch(builder, builder.gep(place, [pitch]), writes=False, cache=2)
    fused = [None] * len(sums)
    few = len(a_pointers) <= across
    # The fewer of the two, numbers or vectors, stay in registers while the others pass by.
    kept = [spread(p) for p in a_pointers] if few else _load_vectors(builder, places, vector)
    for i, passing in enumerate(places if few else a_pointers):
        other = _load_vectors(builder, [passing], vector)[0] if few else spread(passing)
        for j, one in enumerate(kept):
            at = j * across + i if few else i * across + j
            fused[at] = llvm_call(builder, "fma", wide, (one, other, sums[at]))
    builder.cbranch(builder.icmp_signed("<", following, depth), loop, after)
    k.add_incoming(ir.Constant(depth.type, 0), before)
    k.add_incoming(following, loop)

    builder.position_at_end(after)
    for i, place in enumerate(place for places in c_places for place in places):
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


@cache
def block_product(most):
    """A function that multiplies blocks of up to so many rows: of fewer, it compiles quicker."""

    @intrinsic
    def multiply_block(
        typingctx, rows, together, a, a_offsets, row, a_step, panel, start, pitch,
        c, c_offsets, c_row, column, depth, resume,
    ):  # fmt: skip
        """Product of a block of `rows` (1 to `most`) rows and one panel, see the head of this file.

        Or, if `together`, of `panels_together(rows)` panels, `pitch` apart. Of so many rows that
        this is one, fetches meanwhile what lies `pitch` behind the panel. Row r of A begins at
        element `a_offsets[row + r]` of `a`, its elements lie `a_step` apart; the panel begins at
        `start` of `panel`; row r of C at `c_offsets[c_row + r] + column` of `c`. Starts from C if
        `resume`, else from the panel's first row. Writes VECTORS whole vectors a row and panel.
        """
        vector, intp = Vector(a.dtype), types.intp

        def codegen(context, builder, sig, args):
            data = [array_data(context, builder, sig.args[i], args[i]) for i in (2, 3, 6, 9, 10)]
            a_data, a_rows, panel_data, c_data, c_rows = data
            count, many, _, _, first, step, _, begin, apart, _, _, c_first, across, *rest = args
            length, go_on = rest
            first_row = builder.gep(panel_data, [begin])

            def pointers(base, offsets, first, column, count):
                for r in range(count):
                    index = builder.add(first, ir.Constant(first.type, r))
                    offset = builder.load(builder.gep(offsets, [index]))
                    yield builder.gep(base, [builder.add(offset, column)])

            # One machine loop for each height: a choice made inside, for a call costs as much as
            # ten steps of the depth.
            end = builder.append_basic_block("multiplied")
            several = builder.select(many, count.type(most), count.type(0))
            choice = builder.switch(builder.add(count, several), end)
            nothing = ir.Constant(first.type, 0)
            for height in range(1, most + 1):
                for panels in sorted({1, panels_together(height)}):
                    block = builder.append_basic_block(f"rows_{height}_panels_{panels}")
                    number = height + (most if panels > 1 else 0)
                    choice.add_case(ir.Constant(count.type, number), block)
                    builder.position_at_end(block)
                    a_pointers = list(pointers(a_data, a_rows, first, nothing, height))
                    c_pointers = list(pointers(c_data, c_rows, c_first, across, height))
                    _emit_block(
                        builder, vector, a_pointers, step, first_row, apart, panels, c_pointers,
                        length, go_on,
                    )  # fmt: skip
                    builder.branch(end)
            builder.position_at_end(end)
            return context.get_dummy_value()

        arguments = (
            intp, types.boolean, a, a_offsets, intp, intp, panel, intp, intp,
            c, c_offsets, intp, intp, intp, types.boolean,
        )  # fmt: skip
        return types.void(*arguments), codegen

    return multiply_block
