"""Reverse-mode differentiation of formulas: B. Speelpenning, 1980; Griewank & Walther, 2008."""

from .graph import in_order
from .symbols import Symbol, select, sigmoid, sigmoid_slope, tanh_slope

# Of each operation, from its value y and the gradient d by it, the gradients by its operands.
_RULES = {
    "+": lambda y, d, a, b: (d, d),
    "-": lambda y, d, a, b: (d, -d),
    "*": lambda y, d, a, b: (d * b, d * a),
    "/": lambda y, d, a, b: (d / b, -(d / b * y)),
    "neg": lambda y, d, a: (-d,),
    "tanh": lambda y, d, a: (d * tanh_slope(y),),
    "sigmoid": lambda y, d, a: (d * sigmoid_slope(y),),
    "exp": lambda y, d, a: (d * y,),
    "softplus": lambda y, d, a: (d * sigmoid(a),),
    "sqrt": lambda y, d, a: (d / (y + y),),
    "absolute": lambda y, d, a: (select(a < 0, -d, d),),
    "positive_part": lambda y, d, a: (select(y > 0, d, 0),),
    "tanh_slope": lambda y, d, a: (-(d * (a + a)),),
    "sigmoid_slope": lambda y, d, a: (d - d * (a + a),),
    "select": lambda y, d, condition, a, b: (0, select(condition, d, 0), select(condition, 0, d)),
}


def gradients(graph, seeds):
    """The gradients by every node that `seeds` are made of: dict of node to node.

    `seeds` are pairs (node, gradient by it). Conditions have none: between its branches a
    formula is taken to be flat.
    """
    found = {}

    def add(node, gradient):
        found[node] = graph.apply("+", found[node], gradient) if node in found else gradient

    for node, gradient in seeds:
        add(node, gradient)
    for node in reversed(in_order([node for node, _ in seeds])):
        if node in found and node.operation in _RULES and not found[node].is_literal(0):
            y, d, *operands = (Symbol(graph, n) for n in (node, found[node], *node.operands))
            for operand, gradient in zip(node.operands, _RULES[node.operation](y, d, *operands)):
                if isinstance(gradient, Symbol):
                    add(operand, gradient.node)
    return found
