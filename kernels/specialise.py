"""From one text to each device: puts a device's elementary functions into a plain function."""

from types import FunctionType


def specialise(function, replacements, jit):
    """Compile `function` with `jit`, calling the device's elementary functions.

    `replacements` maps the functions of `mathematics` to those of the device. Other plain
    Python functions that `function` names are specialised likewise, so that a cell may be
    written in several small functions.
    """
    bindings = dict(function.__globals__)
    for name in function.__code__.co_names:
        value = bindings.get(name)
        if value in replacements if isinstance(value, FunctionType) else False:
            bindings[name] = replacements[value]
        elif isinstance(value, FunctionType):
            bindings[name] = specialise(value, replacements, jit)
    bound = FunctionType(
        function.__code__,
        bindings,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    bound.__module__ = function.__module__
    bound.__qualname__ = function.__qualname__
    return jit(bound)


def text_of(function):
    """What `function` computes, as a string: its code, constants, and those of what it calls."""
    code = function.__code__
    parts = [code.co_code.hex(), repr(code.co_consts), repr(code.co_names)]
    parts += [repr(cell.cell_contents) for cell in function.__closure__ or ()]
    for name in code.co_names:
        value = function.__globals__.get(name)
        if isinstance(value, FunctionType):
            parts.append(value.__qualname__ if value is function else text_of(value))
        elif isinstance(value, (int, float)):
            parts.append(repr(value))
    return " ".join(parts)


def text_of_cell(cell):
    """All of a cell that goes into kernels."""
    functions = (cell.forward, cell.backward, cell.gate, cell.gate_backward)
    numbers = (cell.gates, cell.states, cell.saved, cell.apart, cell.late, cell.kept, cell.carried)
    return f"{numbers} " + " ".join(text_of(f) for f in functions if f)
