"""Formulas as Python source, as one would write them by hand."""

import keyword
from collections import Counter

from .symbols import FUNCTIONS, OPERATORS

_LONGEST = 64  # characters of an expression without a name of its own
_STRENGTH = {"+": 2, "-": 2, "*": 3, "/": 3, "neg": 3}  # comparisons 1, names and calls 4


class Writer:
    """Writes one function.

    Parameters
    ----------
    arguments : tuple of str
    known : dict of node to str
        What a number is called that is an argument, or an item of one.
    labels : dict of node to str
        What others are called, where they get a name.
    like : str
        An argument of the kind that literals shall be.
    """

    def __init__(self, arguments, known, labels, like):
        self._known, self._labels, self._like = known, labels, like
        self._taken = {*arguments, *FUNCTIONS, *keyword.kwlist}
        self._written = {}
        self._lines = []
        self._number = 0
        self._arguments = arguments

    def unpack(self, argument, nodes):
        """Begin with `a, b = argument`."""
        names = []
        for node in nodes:
            names.append(self._name_for(node))
            self._written[node] = names[-1], 4
        if names:
            target = ", ".join(names) if len(names) > 1 else f"({names[0]},)"
            self._lines.append(f"{target} = {argument}")

    def function(self, name, *groups):
        """The source of a function that returns the groups, each a tuple of nodes, or a node."""
        nodes = [n for group in groups for n in (group if isinstance(group, tuple) else (group,))]
        uses = self._count_uses(nodes)
        for node in nodes:
            self._write(node, uses)
        returned = ", ".join(
            _tuple([self._text(node)[0] for node in group])
            if isinstance(group, tuple)
            else self._text(group)[0]
            for group in groups
        )
        lines = [*self._lines, f"return {returned}"]
        head = f"def {name}({', '.join(self._arguments)}):"
        return "\n".join([head, *(f"    {line}" for line in lines)]) + "\n"

    def _is_given(self, node):
        return node in self._written or node in self._known

    def _count_uses(self, nodes):
        uses, open_nodes, seen = Counter(), list(nodes), set()
        while open_nodes:
            node = open_nodes.pop()
            uses[node] += 1
            if node not in seen and not self._is_given(node):
                seen.add(node)
                open_nodes += node.operands
        return uses

    def _write(self, node, uses):
        """Write the lines that a node needs, and one of its own where it deserves a name."""
        if self._is_given(node) or node.operation in ("leaf", "literal"):
            return
        for operand in node.operands:
            self._write(operand, uses)
        text = self._text(node)[0]
        if uses[node] > 1 or node in self._labels or len(text) > _LONGEST:
            name = self._name_for(node)
            self._lines.append(f"{name} = {text}")
            self._written[node] = name, 4

    def _text(self, node):
        """(source, strength of its weakest operator)."""
        if node in self._written:
            return self._written[node]
        if node in self._known:
            return self._known[node], 4
        operation = node.operation
        if operation == "literal":
            like = self._like
            return (f"constant({like}, {node.value!r})" if node.value else f"zero({like})"), 4
        strength = _STRENGTH.get(operation, 1)
        if operation == "neg":
            return f"-{self._operand(node.operands[0], strength + 1)}", strength
        if operation in OPERATORS:
            left, right = node.operands
            sides = self._operand(left, strength), self._operand(right, strength + 1)
            return f" {operation} ".join(sides), strength
        return f"{operation}({', '.join(self._text(a)[0] for a in node.operands)})", 4

    def _operand(self, node, least):
        text, strength = self._text(node)
        return text if strength >= least else f"({text})"

    def _name_for(self, node):
        name = self._labels.get(node)
        if name is None:
            self._number += 1
            name = f"t{self._number}"
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name


def _tuple(texts):
    return f"({', '.join(texts)}{',' * (len(texts) == 1)})"
