"""Running a cell's function on symbols: what it computes, and what it calls its numbers."""

import inspect
import sys
from types import FunctionType

from ..kernels.specialise import specialise
from .symbols import TRACED, Symbol


class Trace:
    """One run of a function: its `results`, as it returned them, and `labels`, node to name."""

    def __init__(self, function, arguments, what):
        check_function(function, len(arguments), what)
        bound = specialise(function, TRACED, lambda function: function)
        self.results, local = _call(bound, arguments, what)
        self.labels = {
            value.node: name for name, value in local.items() if isinstance(value, Symbol)
        }


def check_function(function, count, what):
    """Raise TypeError unless `function` is one in Python that takes `count` arguments."""
    if not isinstance(function, FunctionType):
        raise TypeError(f"{what}: expected a Python function, got {function!r}")
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        given = inspect.signature(function)
        raise TypeError(
            f"{what}: expected a function of {count} arguments, got {function.__name__}{given}"
        ) from None


def _call(function, arguments, what):
    """The result, and the local variables at the end."""
    local, before = {}, sys.getprofile()

    def note(frame, event, argument):
        if event == "return" and frame.f_code is function.__code__:
            local.update(frame.f_locals)

    sys.setprofile(note)
    try:
        return function(*arguments), local
    except IndexError as error:
        counts = ", ".join(str(len(a)) for a in arguments if isinstance(a, tuple))
        raise ValueError(
            f"{what}: reads past its inputs, of which there are {counts}: {error}"
        ) from error
    finally:
        sys.setprofile(before)


def nodes_of(result, count, what, like):
    """The nodes of a tuple of `count` numbers (of one: also the number alone); else ValueError."""
    values = (result,) if count == 1 and not isinstance(result, (tuple, list)) else result
    if not isinstance(values, (tuple, list)) or len(values) != count:
        got = f"{len(values)}" if isinstance(values, (tuple, list)) else repr(result)
        raise ValueError(f"{what}: expected a tuple of {count}, got {got}")
    return [node_of(value, what, like) for value in values]


def node_of(value, what, like):
    """The node of one number; TypeError if it is none."""
    if isinstance(value, Symbol) and value.is_condition:
        raise TypeError(f"{what}: expected numbers, got a condition: write select(condition, a, b)")
    if isinstance(value, Symbol):
        return value.node
    if isinstance(value, (int, float)):
        return like.graph.literal(value)
    raise TypeError(f"{what}: expected numbers, got {type(value).__name__}")
