"""Products of weights as they lie, for so few rows that packing would cost more than it saves.

Two forms, after the order in which the weights (a row for each gate's unit) are read:
- `dot_rows`: dot products of as many weight rows as a vector has lanes with one row of inputs.
  The way forward: its result is one gate of that many hidden units, in one register.
- `add_scaled_rows`: a sum of weight rows, each times a number. The way back.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .simd import Vector, array_data, llvm_call, masked_load, masked_store, splat, vector_ir

ACCUMULATORS = 8  # sums at a time: multiply-adds take 4 cycles, and two begin in each
# Rows read side by side: of 1024 numbers each, all have their lines in one set of a first-level
# cache of 8 ways. With 16 rows such products ran at half the speed.
MOST_ROWS_TOGETHER = 8
GROUP_BITS = 128  # shuffles within so many bits are the cheap ones


def index_ir(value):
    return ir.Constant(ir.IntType(64), value)


def _load(builder, base, index, vector, count=None):
    pointer = builder.bitcast(builder.gep(base, [index]), vector_ir(vector).as_pointer())
    if count is None:
        return builder.load(pointer, align=vector.element.bitwidth // 8)
    return masked_load(builder, vector, pointer, count)


def loop(builder, start, stop, step, values, body, whole=True):
    """Emit a loop from `start` in steps of `step`, as long as whole steps, or parts, are left.

    `body(k, values)` emits one turn and returns the new values; returns k and values after all.
    """
    before = builder.block
    head, turn, after = (builder.append_basic_block(name) for name in ("head", "turn", "after"))
    builder.branch(head)
    builder.position_at_end(head)
    k = builder.phi(stop.type)
    current = [builder.phi(value.type) for value in values]
    following = builder.add(k, index_ir(step))
    more = builder.icmp_signed("<=" if whole else "<", following if whole else k, stop)
    builder.cbranch(more, turn, after)
    builder.position_at_end(turn)
    changed, end = body(k, current), builder.block
    builder.branch(head)
    for phi, value, new in zip([k, *current], [start, *values], [following, *changed]):
        phi.add_incoming(value, before)
        phi.add_incoming(new, end)
    builder.position_at_end(after)
    return k, current


def _merge(builder, a, b, items, chunk):
    """Of two vectors that hold partial sums of `items` rows each, one of them all.

    Within each `chunk` of lanes the partial sums of a row lie `items` apart.
    """
    lanes, parts = a.type.count, chunk // items
    halves = []
    for half in (range(parts // 2), range(parts // 2, parts)):
        order = []
        for group in range(0, lanes, chunk):
            for part in half:
                first = group + part * items
                order += [
                    *range(first, first + items),
                    *range(lanes + first, lanes + first + items),
                ]
        mask = ir.Constant(ir.VectorType(ir.IntType(32), len(order)), order)
        halves.append(builder.shuffle_vector(a, b, mask))
    return builder.fadd(*halves)


def sum_each(builder, vectors, vector):
    """One vector whose lane r is the sum of all lanes of `vectors[r]`."""
    group = GROUP_BITS // vector.element.bitwidth
    items = 1
    while len(vectors) > 1:
        chunk = group if items < group else vector.lanes
        vectors = [_merge(builder, a, b, items, chunk) for a, b in zip(vectors[::2], vectors[1::2])]
        items *= 2
    return vectors[0]


def row_pointers(builder, data, first, pitch, count, lanes):
    """Where each lane's row begins: that of the last of `count` rows for lanes beyond them."""
    last, pointers = builder.sub(count, index_ir(1)), []
    for r in range(lanes):
        row = builder.select(builder.icmp_signed("<", index_ir(r), count), index_ir(r), last)
        pointers.append(builder.gep(data, [builder.add(first, builder.mul(row, pitch))]))
    return pointers


def _load_weights(builder, dtype, base, index, vector, count):
    """Emit the load of weights of any of the kinds that `reduced` makes, as `vector`'s floats."""
    if isinstance(dtype, types.Float):
        return _load(builder, base, index, vector, count)
    # Rows of reduced weights are padded with zeros to whole vectors: `count` need not be kept.
    narrow = ir.VectorType(ir.IntType(dtype.bitwidth), vector.lanes)
    pointer = builder.bitcast(builder.gep(base, [index]), narrow.as_pointer())
    numbers = builder.load(pointer, align=dtype.bitwidth // 8)
    wide = ir.VectorType(ir.IntType(32), vector.lanes)
    if dtype.signed:
        return builder.sitofp(builder.sext(numbers, wide), vector_ir(vector))
    # bfloat16 is the upper half of float32.
    half = ir.Constant(wide, [16] * vector.lanes)
    return builder.bitcast(builder.shl(builder.zext(numbers, wide), half), vector_ir(vector))


@intrinsic
def dot_rows(typingctx, w, start, pitch, valid, x, x_start, depth):
    """Lane r: the dot product of w[start + r pitch :] and x[x_start :], over `depth` numbers.

    There are `valid` rows (at least 1); lanes beyond them are of no account. Reads nothing
    outside of the rows. The weights may be floats like x, or reduced ones (see `reduced`).
    """
    vector = Vector(x.dtype)
    lanes, wide = vector.lanes, vector_ir(vector)
    together = min(lanes, MOST_ROWS_TOGETHER)
    unroll = ACCUMULATORS // together

    def codegen(context, builder, sig, args):
        w_data, x_data = (array_data(context, builder, sig.args[i], args[i]) for i in (0, 4))
        first, step, count, x_first, length = args[1], args[2], args[3], args[5], args[6]
        across = builder.gep(x_data, [x_first])

        def sums_of(rows):
            def add_products(k, sums, part=None):
                inputs = _load(builder, across, k, vector, part)
                weights = [_load_weights(builder, w.dtype, row, k, vector, part) for row in rows]
                return [
                    llvm_call(builder, "fma", wide, (weight, inputs, total))
                    for weight, total in zip(weights, sums)
                ]

            def several(k, sums):
                groups = (sums[u * together : (u + 1) * together] for u in range(unroll))
                places = (builder.add(k, index_ir(u * lanes)) for u in range(unroll))
                return [s for at, group in zip(places, groups) for s in add_products(at, group)]

            zeros = [ir.Constant(wide, [0.0] * lanes)] * ACCUMULATORS
            k, sums = loop(builder, index_ir(0), length, lanes * unroll, zeros, several)
            while len(sums) > together:
                half = len(sums) // 2
                sums = [builder.fadd(a, b) for a, b in zip(sums[:half], sums[half:])]
            if unroll > 1:
                k, sums = loop(builder, k, length, lanes, sums, add_products)
            _, sums = loop(
                builder, k, length, lanes, sums,
                lambda k, sums: add_products(k, sums, builder.sub(length, k)), whole=False,
            )  # fmt: skip
            return sums

        rows = row_pointers(builder, w_data, first, step, count, lanes)
        groups = (rows[r : r + together] for r in range(0, lanes, together))
        return sum_each(builder, [s for group in groups for s in sums_of(group)], vector)

    intp = types.intp
    return vector(w, intp, intp, intp, x, intp, intp), codegen


@intrinsic
def add_scaled_rows(typingctx, a, a_start, depth, w, start, pitch, c, c_start, columns):
    """c[c_start + j] += sum over k of a[a_start + k] w[start + k pitch + j], j = 0 .. columns - 1.

    Goes through some rows of the weights at a time, from left to right, as they lie in memory.
    Touches nothing outside of the columns.
    """
    vector = Vector(c.dtype)
    lanes, wide = vector.lanes, vector_ir(vector)

    def codegen(context, builder, sig, args):
        a_data, w_data, c_data = (
            array_data(context, builder, sig.args[i], args[i]) for i in (0, 3, 6)
        )
        a_first, length, first, step, c_first, width = (args[i] for i in (1, 2, 4, 5, 7, 8))
        scales, target = builder.gep(a_data, [a_first]), builder.gep(c_data, [c_first])

        def add_rows(k, count):
            numbers = [builder.add(k, index_ir(r)) for r in range(count)]
            factors = [
                splat(builder, builder.load(builder.gep(scales, [n])), lanes) for n in numbers
            ]
            rows = [
                builder.gep(w_data, [builder.add(first, builder.mul(n, step))]) for n in numbers
            ]

            def columns_at(j, part=None):
                total = _load(builder, target, j, vector, part)
                for factor, row in zip(factors, rows):
                    value = _load(builder, row, j, vector, part)
                    total = llvm_call(builder, "fma", wide, (factor, value, total))
                place = builder.bitcast(builder.gep(target, [j]), wide.as_pointer())
                if part is None:
                    builder.store(total, place, align=vector.element.bitwidth // 8)
                else:
                    masked_store(builder, vector, total, place, part)
                return []

            j, _ = loop(builder, index_ir(0), width, lanes, [], lambda j, _: columns_at(j))
            loop(
                builder, j, width, lanes, [],
                lambda j, _: columns_at(j, builder.sub(width, j)), whole=False,
            )  # fmt: skip
            return []

        k, _ = loop(
            builder, index_ir(0), length, ACCUMULATORS, [], lambda k, _: add_rows(k, ACCUMULATORS)
        )
        loop(builder, k, length, 1, [], lambda k, _: add_rows(k, 1))
        return context.get_dummy_value()

    intp = types.intp
    return types.void(a, intp, intp, w, intp, intp, c, intp, intp), codegen
