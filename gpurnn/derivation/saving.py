"""What the way forward must save for the way back.

A number that costs an exponential is saved rather than computed anew, unless it follows from
what is there anyway, the states; sums and products are computed anew, since memory is slower.
Among all choices that obey this the one of the fewest numbers is taken: a smallest vertex
cut of the graph, by augmenting paths (Ford & Fulkerson 1956; Menger 1927).
"""

from collections import defaultdict

from .graph import in_order

EXPENSIVE = ("tanh", "sigmoid", "exp", "softplus")


def following(nodes, known):
    """Those of the nodes, and of what they are made of, that follow from the known ones."""
    found = set(known)
    for node in in_order(nodes):
        made = node.operands and all(operand in found for operand in node.operands)
        if made or node.operation == "literal":
            found.add(node)
    return found


def smallest_cut(needed, known, computed):
    """The fewest nodes from which, and from the known ones, all `needed` are cheaply computed.

    `computed` are the nodes that the way forward computes: only those can be saved, and only
    among them the expensive ones are. Of several smallest cuts it is the one nearest the inputs.
    """
    room = defaultdict(dict)  # residual capacities; of each node an arc (node, in) -> (node, out)
    visited, free = set(), following(needed, known)

    def connect(node):
        if node in visited or node in free:
            return
        visited.add(node)
        room[node, "in"][node, "out"] = 1 if node in computed else float("inf")
        if node.operation == "leaf" or (node.operation in EXPENSIVE and node in computed):
            room["source"][node, "in"] = float("inf")
            return
        for operand in node.operands:
            connect(operand)
            if operand in visited:
                room[operand, "out"][node, "in"] = float("inf")

    for node in needed:
        connect(node)
        if node in visited:
            room[node, "out"]["sink"] = float("inf")

    def augment(place, seen):
        if place == "sink":
            return True
        seen.add(place)
        for following, left in list(room[place].items()):
            if left and following not in seen and augment(following, seen):
                room[place][following] -= 1
                room[following][place] = room[following].get(place, 0) + 1
                return True
        return False

    reached = set()
    while augment("source", reached):
        reached = set()
    return [node for node in computed if (node, "in") in reached and (node, "out") not in reached]
