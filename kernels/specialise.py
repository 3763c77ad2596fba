"""From one text to each device: puts a device's elementary functions into a plain function."""

from dis import get_instructions
from functools import cache
from types import CellType, FunctionType


@cache
def _global_names(code):
    """The names that code reads of its module; attributes are not among them."""
    return sorted({i.argval for i in get_instructions(code) if i.opname == "LOAD_GLOBAL"})


def specialise(function, replacements, jit):
    """Compile `function` with `jit`, calling the device's elementary functions.

    `replacements` maps the functions of `mathematics` to those of the device. Other plain
    Python functions that `function` names or encloses are specialised likewise, so that a cell
    may be written in several small functions, and made of another cell's.
    """

    def of_device(value):
        if not isinstance(value, FunctionType):
            return value
        return replacements.get(value) or specialise(value, replacements, jit)

    bindings = dict(function.__globals__)
    for name in _global_names(function.__code__):
        if name in bindings:
            bindings[name] = of_device(bindings[name])
    enclosed = function.__closure__
    bound = FunctionType(
        function.__code__,
        bindings,
        function.__name__,
        function.__defaults__,
        enclosed and tuple(CellType(of_device(cell.cell_contents)) for cell in enclosed),
    )
    bound.__module__ = function.__module__
    bound.__qualname__ = function.__qualname__
    return jit(bound)


def text_of(function):
    """What `function` computes, as a string: its code, constants, and those of what it calls."""
    code = function.__code__
    parts = [code.co_code.hex(), repr(code.co_consts), repr(code.co_names)]
    for cell in function.__closure__ or ():
        value = cell.cell_contents
        parts.append(text_of(value) if isinstance(value, FunctionType) else repr(value))
    for name in _global_names(code):
        value = function.__globals__.get(name)
        if isinstance(value, FunctionType):
            parts.append(value.__qualname__ if value is function else text_of(value))
        elif isinstance(value, (int, float)):
            parts.append(repr(value))
    return " ".join(parts)


def text_of_cell(cell):
    """All of a cell that goes into kernels."""
    functions = (cell.forward, cell.backward, cell.gate, cell.gate_backward)
    numbers = (
        cell.gates, cell.states, cell.saved, cell.apart, cell.late, cell.kept, cell.carried,
        len(cell.weights), cell.masks, cell.output, cell.normalised,
    )  # fmt: skip
    return f"{numbers} " + " ".join(text_of(f) for f in functions if f)


def text_of_tree_cell(cell):
    """All of a tree's cell that goes into kernels."""
    functions = (cell.forward, cell.backward, cell.forward_child, cell.backward_child)
    numbers = (cell.gates, cell.states, cell.saved)
    return f"{numbers} " + " ".join(text_of(f) for f in functions if f)
