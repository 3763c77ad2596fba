"""What happens at one node of a tree, written once for both devices.

A device gives `compiled`, which makes a plain function one of its own, and its module `tuples`: the
first `some` lanes of a vector of units on the CPU, one unit on CUDA, where `some` says nothing.
For what the arrays hold see `tree_levels`; here they are flat, and the states `plane` numbers
apart. `units` is H, `x_width` that of `xg`, `u` the first unit.

A node's numbers stand in row `row` of `hg`. This is `node`, or, where the way back is not to come,
less: rows are used again then. The children's gates move up with them, by `moved` rows of `hf`
taken as (N K, H).
"""

from .mathematics import zero


def forward_node(cell, compiled, tuples):
    """A function from a node's products to its states, and to what the way back needs."""
    function, carry, gate_count = compiled(cell.forward), _carry(cell, compiled, tuples), cell.gates
    gates, load = tuples.gather_part(cell.gates), tuples.load_part
    put_states, saves = tuples.scatter_part(cell.states), tuples.scatter_part(cell.saved)

    def forward(
        node, row, moved, u, some, units, x_width, plane, first, children, gate_places, xg, hg, hf,
        states,
    ):  # fmt: skip
        x_at, h_at = node * x_width + u, row * gate_count * units + u
        carried = carry(
            load(xg, x_at + (x_width - units), some), first[node], first[node + 1], children,
            gate_places, moved, hf, states, plane, u, units, some,
        )  # fmt: skip
        new, saved = function(
            gates(xg, x_at, units, some), gates(hg, h_at, units, some), carried
        )  # fmt: skip
        put_states(states, node * units + u, plane, new, some)
        saves(hg, h_at, units, saved, some)

    return compiled(forward)


def _carry(cell, compiled, tuples):
    """A function that lets the children's states through their gates: () or (their sum,)."""
    if cell.forward_child is None:
        return compiled(
            lambda x, begin, end, children, gates, moved, hf, states, plane, u, units, some: ()
        )
    through, load, store = compiled(cell.forward_child), tuples.load_part, tuples.store_part

    def carry(x, begin, end, children, gates, moved, hf, states, plane, u, units, some):
        total = zero(x)
        for e in range(begin, end):
            at = (gates[children[e]] - moved) * units + u
            c = load(states, plane + children[e] * units + u, some)
            value, f = through(x, load(hf, at, some), c)
            store(hf, at, f, some)
            total = total + value
        return (total,)

    return compiled(carry)


def backward_node(cell, compiled, tuples):
    """A function from the gradients by a node's states to those by its products.

    dgathered and dgated: gradients by the rows of `gathered` and, through the gates' products,
    by those of the children's hidden states that these saw.
    """
    function, gate_count = compiled(cell.backward), cell.gates
    received, carry_back = _received(cell, compiled, tuples), _carry_back(cell, compiled, tuples)
    saves, states_of = tuples.gather_part(cell.saved), tuples.gather_part(cell.states)
    put_gates, add_hidden = tuples.scatter_part(cell.gates), tuples.add_at(0)

    def backward(
        node, u, some, units, x_width, plane, first, children, places, gate_places, hg, hf, states,
        dstates, dxg, dhg, dhf, dgathered, dgated,
    ):  # fmt: skip
        at, x_at, h_at = node * units + u, node * x_width + u, node * gate_count * units + u
        dnew = states_of(dstates, at, plane, some)
        if places[node] >= 0:
            place, gate_place = places[node] * units + u, gate_places[node] * units + u
            dnew = add_hidden(dnew, received(place, gate_place, dgathered, dgated, some))
        dx, dh, dcarried = function(
            saves(hg, h_at, units, some), (), states_of(states, at, plane, some), dnew
        )
        put_gates(dxg, x_at, units, dx, some)
        put_gates(dhg, h_at, units, dh, some)
        carry_back(
            dcarried, first[node], first[node + 1], children, gate_places, hf, states, plane, dhf,
            dstates, dxg, x_at + (x_width - units), u, units, some,
        )  # fmt: skip

    return compiled(backward)


def _received(cell, compiled, tuples):
    """A function: the gradient that a node's hidden state has from its parent."""
    load = tuples.load_part
    if cell.backward_child is None:
        return compiled(lambda at, gate_at, dgathered, dgated, some: load(dgathered, at, some))
    return compiled(
        lambda at, gate_at, dgathered, dgated, some: (
            load(dgathered, at, some) + load(dgated, gate_at, some)
        )
    )


def _carry_back(cell, compiled, tuples):
    """A function that takes gradients back through the children's gates.

    It writes those by the sums of these gates, by what these saw of the node's input, at `x_at`
    of `dxg`, and by the children's states 1.
    """
    if cell.backward_child is None:
        return compiled(
            lambda dcarried, begin, end, children, gates, hf, states, plane, dhf, dstates, dxg,
            x_at, u, units, some: None
        )  # fmt: skip
    back, load, store = compiled(cell.backward_child), tuples.load_part, tuples.store_part

    def carry_back(
        dcarried, begin, end, children, gates, hf, states, plane, dhf, dstates, dxg, x_at, u,
        units, some,
    ):  # fmt: skip
        total = zero(dcarried[0])
        for e in range(begin, end):
            gate_at, at = gates[children[e]] * units + u, plane + children[e] * units + u
            da, dc = back(load(hf, gate_at, some), load(states, at, some), dcarried[0])
            store(dhf, gate_at, da, some)
            store(dstates, at, dc, some)
            total = total + da
        store(dxg, x_at, total, some)

    return compiled(carry_back)
