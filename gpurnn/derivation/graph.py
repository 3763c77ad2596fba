"""Formulas as graphs: every number is a node, and equal numbers are one node."""

from dataclasses import dataclass

COMMUTATIVE = ("+", "*")


@dataclass(frozen=True, eq=False)
class Node:
    """One number of a formula.

    `operation` is "leaf" (`value`: its name), "literal" (`value`: a float), an operator of
    `OPERATORS` in `symbols`, "neg", or the name of a function of `kernels.mathematics`.
    """

    operation: str
    operands: tuple = ()
    value: object = None

    def is_literal(self, number):
        """Whether it is this number."""
        return self.operation == "literal" and self.value == number


class Graph:
    """The nodes of one derivation.

    Signs are drawn out of products and sums, and additions of 0 and multiplications by 0 and 1
    left out: differentiation makes many of them. All else stays as it is written, so that the
    source derived rounds as the formula does.
    """

    def __init__(self):
        self._nodes = {}

    def leaf(self, name):
        """A number that is given."""
        return self._node("leaf", value=name)

    def literal(self, number):
        """A number that is known."""
        return self._node("literal", value=float(number))

    def apply(self, operation, *operands):
        """The node of an operation on nodes, simplified."""
        simplify = _SIMPLER.get(operation)
        simpler = simplify(self, *operands) if simplify else None
        return simpler or self._node(operation, *operands)

    def _node(self, operation, *operands, value=None):
        ordered = sorted(operands, key=id) if operation in COMMUTATIVE else operands
        key = operation, tuple(ordered), repr(value)  # repr: -0.0 is not 0.0
        if key not in self._nodes:
            self._nodes[key] = Node(operation, operands, value)
        return self._nodes[key]

    def _negation(self, a):
        if a.operation == "neg":
            return a.operands[0]
        return self.literal(-a.value) if a.operation == "literal" else None

    def _sum(self, a, b):
        if a.is_literal(0):
            return b
        if b.is_literal(0):
            return a
        if b.operation == "neg":
            return self.apply("-", a, b.operands[0])
        if a.operation == "neg":
            return self.apply("-", b, a.operands[0])
        return None

    def _difference(self, a, b):
        if b.is_literal(0):
            return a
        if a.is_literal(0):
            return self.apply("neg", b)
        return self.apply("+", a, b.operands[0]) if b.operation == "neg" else None

    def _product(self, a, b):
        for one, other in ((a, b), (b, a)):
            if one.is_literal(0):
                return one
            if one.is_literal(1):
                return other
            if one.operation == "neg":
                return self.apply("neg", self.apply("*", *_replace(a, b, one, one.operands[0])))
        return None

    def _quotient(self, a, b):
        if a.is_literal(0) or b.is_literal(1):
            return a
        if a.operation == "neg":
            return self.apply("neg", self.apply("/", a.operands[0], b))
        return None


def _replace(a, b, old, new):
    return (new, b) if a is old else (a, new)


_SIMPLER = {
    "neg": Graph._negation,
    "+": Graph._sum,
    "-": Graph._difference,
    "*": Graph._product,
    "/": Graph._quotient,
}


def in_order(nodes):
    """The nodes and all they are made of, operands before what they go into."""
    ordered = {}

    def visit(node):
        if node not in ordered:
            for operand in node.operands:
                visit(operand)
            ordered[node] = None

    for node in nodes:
        visit(node)
    return list(ordered)
