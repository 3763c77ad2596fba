"""A phase of a persistent step, the same in all loops: from rows in memory to each unit's sums."""

from functools import cache

from numba import types

from .device import ELEMENTS, cuda, floats, inlined
from .intrinsics import WARP, block_z
from .persistent_block import COLUMNS, THREADS, WARPS, sums_tile
from .preparing import COUNTER_PITCH
from .tuples import add, gather


def owns_of(own, dtype, layers):
    """The type of what a kernel takes for both directions or, of more than one, its `layers`.

    `own` are the types of one. A layer has besides (w_feed, feed, seed, threshold, scale): the
    weights and the rows by which the layer before it in the launch feeds it, and the dropout of
    what comes out of it.
    """
    f, u = floats(dtype), types.uint64
    stack = (f, f, u, u, ELEMENTS[dtype]) if layers > 1 else ()
    return types.UniTuple(types.Tuple((*own, types.Tuple(stack))), max(layers, 2))


@cache
def _pick(count):
    """A function (owns, z, heads) -> owns[z // heads], of so many."""
    if count == 1:
        return inlined(lambda owns, z, heads: owns[0])
    others = _pick(count - 1)

    @inlined
    def pick(owns, z, heads):
        return owns[0] if z < heads else others(owns[1:], z - heads, heads)

    return pick


@cache
def own_of(count):
    """A function (owns, heads) -> what is of the direction, or layer, that the block works on.

    Asked for where it is used, and again behind a product: so that no registers hold it meanwhile.
    """
    pick = _pick(count)

    @inlined
    def own(owns, heads):
        return pick(owns, block_z(), heads)

    return own


@cache
def _head(count):
    """A function (z, heads) -> z % heads, for z below `count` times as many."""
    if count == 1:
        return inlined(lambda z, heads: z)
    others = _head(count - 1)

    @inlined
    def head(z, heads):
        return z if z < heads else others(z - heads, heads)

    return head


@cache
def own_head_of(count):
    """A function heads -> the head that the block works on; asked for as `own_of` is.

    That of layers, which have one head, could be told to be 0: then the compiler would move what
    follows from it out of the loop over time, and registers would spill.
    """
    head = _head(count)

    @inlined
    def own_head(heads):
        return head(block_z(), heads)

    return own_head


of_direction, own_head = own_of(2), own_head_of(2)


@inlined
def counter_of(z):
    """Where the counter of a direction's head, or of a layer, and the block's sequences is."""
    return (z * cuda.gridDim.y + cuda.blockIdx.y) * COUNTER_PITCH


@inlined
def own_units(units, group_rows, batch):
    """(unit and row of a pass that the thread has; the block's first unit, first row and the row
    after its last; the thread's unit of the head)."""
    unit, row = cuda.threadIdx.x % units, cuda.threadIdx.x // units
    first_unit, first_row = cuda.blockIdx.x * units, cuda.blockIdx.y * group_rows
    last_row = min(first_row + group_rows, batch)
    return unit, row, first_unit, first_row, last_row, first_unit + unit


@inlined
def own_sums(sums, row, unit, pitch):
    """Where in shared memory the sums of a row's unit begin, those of the first gate."""
    tile = sums_tile(unit // COLUMNS, row, pitch)
    return sums + row * pitch + tile * COLUMNS + unit % COLUMNS


@cache
def load_gates(gate_count, tiles):
    """A function by which the block brings its units' weights to shared memory.

    (shared, at, w, head, hidden, heads, first_unit, units, chunks): from `at` on a column for each
    gate and unit, along the depth what it gives to the inputs, which are as many as units.
    """
    place, depth_of_chunk = tiles.place_weight(), tiles.chunk

    @inlined
    def load(shared, at, w, head, hidden, heads, first_unit, units, chunks):
        thread, nothing = cuda.threadIdx.x, type(w[0])(0)
        for column in range(thread // WARP, gate_count * units, WARPS):
            gate, u = column // units, first_unit + column % units
            for k in range(thread % WARP, chunks * depth_of_chunk, WARP):
                inside = u < hidden and k < hidden
                row = (gate * heads + head) * hidden + u
                weight = w[row * hidden + k] if inside else nothing
                place(shared, at, column, k, chunks, weight)

    return load


@cache
def load_biases(gate_count):
    """A function by which the block brings its units' biases to shared memory, both by gates."""

    @inlined
    def load(shared, b_ih, b_hh, bias_x, bias_h, head, hidden, heads, first_unit, units):
        for i in range(cuda.threadIdx.x, gate_count * units, THREADS):
            gate, u = i // units, first_unit + i % units
            if u < hidden:
                row = (gate * heads + head) * hidden + u
                shared[bias_x + i] = b_ih[row]
                shared[bias_h + i] = b_hh[row]

    return load


@cache
def load_units(first_gate, gate_count, tiles):
    """A function by which the block brings what its units give to gates to shared memory.

    (shared, at, w_hh, first, hidden, pitch, first_unit, units, chunks): from `at` on a column for
    each unit, along the depth the weights of `gate_count` gates' units, `pitch` for each gate;
    the head's weights begin at w_hh[first].
    """
    place, depth_of_chunk = tiles.place_weight(), tiles.chunk

    @inlined
    def load(shared, at, w_hh, first, hidden, pitch, first_unit, units, chunks):
        thread, nothing = cuda.threadIdx.x, type(w_hh[0])(0)
        for column in range(thread % COLUMNS, units, COLUMNS):
            u = first_unit + column
            for k in range(thread // COLUMNS, chunks * depth_of_chunk, THREADS // COLUMNS):
                gate, source = k // pitch, k % pitch
                inside = u < hidden and source < hidden and gate < gate_count
                index = first + ((first_gate + gate) * hidden + source) * hidden + u
                place(shared, at, column, k, chunks, w_hh[index] if inside else nothing)

    return load


@cache
def phase_product(tiles, of_states=False):
    """A function by which the block multiplies rows of numbers, which other blocks have written.

    (source, start, count, stride, depth, shared, w, a, sums, rows, chunks, column_tiles, parts,
    pitch): `count` rows of `depth` numbers, `stride` apart; see `Tiles`.
    """
    fetch_rows, multiply, tile_rows = tiles.fetch(of_states), tiles.product(), tiles.rows

    @inlined
    def product(
        source, start, count, stride, depth, shared, w, a, sums, rows, chunks, column_tiles, parts,
        pitch,
    ):  # fmt: skip
        fetch_rows(source, start, count, stride, depth, shared, a, rows, chunks)
        cuda.syncthreads()
        row_tiles = (count + tile_rows - 1) // tile_rows
        multiply(shared, w, a, sums, rows, chunks, row_tiles, column_tiles, parts, pitch)
        cuda.syncthreads()

    return product


@cache
def add_sums(count):
    """A function (values, shared, at, parts, part_pitch, units): the values plus all parts' sums.

    Those of the first part begin at shared[at], `units` apart.
    """
    plus, numbers = add(count), gather(count)

    @inlined
    def add_parts(values, shared, at, parts, part_pitch, units):
        for part in range(parts):
            values = plus(values, numbers(shared, at + part * part_pitch, units))
        return values

    return add_parts
