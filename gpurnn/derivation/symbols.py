"""What stands for a number while a formula is traced: it notes what is done with it.

A formula is traced as kernels are compiled: `specialise` puts the functions of this module in
place of those of `kernels.mathematics`. What a symbol cannot note is refused, with what to
write instead.
"""

import operator
import sys
from pathlib import Path

import numpy as np

from ..kernels import mathematics

OPERATORS = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv,
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
_UFUNCS = {
    np.add: operator.add, np.subtract: operator.sub, np.multiply: operator.mul,
    np.true_divide: operator.truediv, np.less: operator.lt, np.less_equal: operator.le,
    np.greater: operator.gt, np.greater_equal: operator.ge,
}  # fmt: skip
_LARGEST_POWER = 8
_IMPORTED = "import it by name, from gpurnn.kernels.mathematics"
_HERE = str(Path(__file__).parent)


def place():
    """(file, line) of the formula being traced: the innermost frame outside this package."""
    frame = sys._getframe(1)
    while frame and frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back
    return (Path(frame.f_code.co_filename).name, frame.f_lineno) if frame else ("?", 0)


def refusal(message):
    """A TypeError that says where in the formula."""
    return TypeError("{}:{}: {}".format(*place(), message))


class Literals(list):
    """What literal numbers a formula combines with symbols: (number, file, line)."""

    def note(self, number):
        self.append((number, *place()))


class Symbol:
    """A node with Python's operators; `literals` notes the numbers it meets."""

    __slots__ = ("graph", "literals", "node")

    def __init__(self, graph, node, literals=None):
        self.graph, self.node, self.literals = graph, node, literals

    @property
    def is_condition(self):
        """Whether it is a truth value."""
        return self.node.operation in COMPARISONS

    def of(self, node):
        """A symbol of the same formula."""
        return Symbol(self.graph, node, self.literals)

    def apply(self, operation, *operands):
        """The symbol of an operation on symbols and numbers."""
        nodes = [self._node_of(operand) for operand in operands]
        if any(node.operation in COMPARISONS for node in nodes[operation == "select" :]):
            raise refusal("calculates with a condition: write select(condition, a, b)")
        return self.of(self.graph.apply(operation, *nodes))

    def _node_of(self, operand):
        if isinstance(operand, Symbol):
            return operand.node
        if isinstance(operand, np.ndarray) and operand.ndim:
            raise refusal("an array in a formula of single numbers: pass it as an input instead")
        is_number = isinstance(operand, (int, float, np.number, np.ndarray))
        if not is_number or isinstance(operand, bool):
            raise refusal(f"expected a number, got {type(operand).__name__}")
        if not np.isfinite(operand):
            raise refusal(f"expected a finite number, got {operand}")
        if self.literals is not None:
            self.literals.note(operand)
        return self.graph.literal(operand)

    def __neg__(self):
        return self.apply("neg", self)

    def __pos__(self):
        return self

    def __abs__(self):
        return self.apply("absolute", self)

    def __pow__(self, exponent):
        if not isinstance(exponent, int) or abs(exponent) > _LARGEST_POWER:
            raise refusal(
                f"powers are whole numbers from -{_LARGEST_POWER} to {_LARGEST_POWER}, got "
                f"{exponent!r}: write sqrt or exp of gpurnn.kernels.mathematics"
            )
        power = self.of(self.graph.literal(1))
        for _ in range(abs(exponent)):
            power = power * self
        return self.of(self.graph.literal(1)) / power if exponent < 0 else power

    def __bool__(self):
        raise refusal(
            "`if`, `and`, `or`, `not`, min and max need one truth value, but a kernel has a vector "
            "of units: write select(condition, a, b) of gpurnn.kernels.mathematics"
        )

    def _one_number(self, *_):
        raise refusal(
            "math's functions and int() and float() take a known number: write the function of "
            f"gpurnn.kernels.mathematics ({', '.join(FUNCTIONS)})"
        )

    __float__ = __int__ = __index__ = __complex__ = __round__ = _one_number

    def _no_sequence(self, *_):
        raise refusal("one number of one unit, not an array: it has no items")

    __iter__ = __len__ = __getitem__ = _no_sequence

    def _no_operation(self, *_):
        raise refusal("//, %, @, & and | are not available in kernels: write + - * / and select")

    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __matmul__ = __rmatmul__ = _no_operation
    __and__ = __rand__ = __or__ = __ror__ = __xor__ = __invert__ = __rpow__ = _no_operation
    __hash__ = None

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        if ufunc in _UFUNCS and all(np.ndim(a) == 0 for a in inputs if a is not self):
            return _UFUNCS[ufunc](*(a if isinstance(a, Symbol) else float(a) for a in inputs))
        if any(isinstance(a, np.ndarray) and a.ndim for a in inputs):
            raise refusal("an array in a formula of single numbers: pass it as an input instead")
        name = ufunc.__name__
        raise refusal(f"np.{name}: write a function of gpurnn.kernels.mathematics; {_IMPORTED}")

    def __array_function__(self, function, types, arguments, options):
        raise refusal(
            f"np.{function.__name__}: write a function of gpurnn.kernels.mathematics; {_IMPORTED}"
        )

    def __array__(self, *_, **__):
        raise refusal(
            f"NumPy cannot calculate a formula: write its function's name and {_IMPORTED}"
        )


def _operator(symbol, reflected=False):
    def method(self, other):
        return self.apply(symbol, *((other, self) if reflected else (self, other)))

    return method


for _symbol, _function in OPERATORS.items():
    setattr(Symbol, f"__{_function.__name__}__", _operator(_symbol))
for _symbol in "+-*/":
    setattr(Symbol, f"__r{OPERATORS[_symbol].__name__}__", _operator(_symbol, reflected=True))


def _traced(function):
    """The function of `mathematics`, of symbols; of plain numbers it is a plain number."""
    name = function.__name__

    def apply(*arguments):
        symbols = [a for a in arguments if isinstance(a, Symbol)]
        return symbols[0].apply(name, *arguments) if symbols else float(function(*arguments))

    return apply


tanh, sigmoid, exp, softplus, sqrt, absolute, positive_part, tanh_slope, sigmoid_slope = (
    _traced(function)
    for function in (
        mathematics.tanh, mathematics.sigmoid, mathematics.exp, mathematics.softplus,
        mathematics.sqrt, mathematics.absolute, mathematics.positive_part,
        mathematics.tanh_slope, mathematics.sigmoid_slope,
    )
)  # fmt: skip


def select(condition, a, b):
    """Of symbols."""
    if not isinstance(condition, Symbol) or not condition.is_condition:
        raise refusal("select: expected a comparison of inputs as the condition")
    return condition.apply("select", condition, a, b)


def constant(x, value):
    """A literal that is what `x` is, on every device: not noted."""
    return x.of(x.graph.literal(value)) if isinstance(x, Symbol) else float(value)


def zero(x):
    """See `constant`."""
    return constant(x, 0)


FUNCTIONS = {
    name: globals()[name]
    for name in (
        "tanh", "sigmoid", "exp", "softplus", "sqrt", "absolute", "positive_part", "select",
        "constant", "zero", "tanh_slope", "sigmoid_slope",
    )
}  # fmt: skip
TRACED = {getattr(mathematics, name): function for name, function in FUNCTIONS.items()}
"""What `specialise` puts in place of the functions of `mathematics`."""
