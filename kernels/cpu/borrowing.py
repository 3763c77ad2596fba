"""Kernels borrow the arrays that they are called with, and count no references to them.

Python holds these arrays as long as a kernel runs. Yet Numba counts every name that each of a
kernel's functions has for one, by a call of its runtime with an atomic addition in it: in a time
loop of few units, more than half of the time. LLVM removes pairs of them only from simple paths.
"""

import re

_COUNT = re.compile(r" *(?:tail )?call void @NRT_(?:incref|decref)\(ptr (%arg\.[\w.]+)\)[^\n]*\n")
_CALL = re.compile(r" *(?:%\S+ = )?(?:tail )?call ")


def without_counts_of_arguments(assembly):
    """A module's LLVM assembly without the counting of functions' array arguments.

    An argument is left alone if the function does more than count it and pass it on: a result or
    another variable may be made of it, for which it was counted.
    """
    head, *functions = re.split(r"(?m)^(?=define )", assembly)
    return head + "".join(map(_without_counts, functions))


def _without_counts(function):
    counted = set(_COUNT.findall(function))
    if not counted:
        return function
    _, *lines = _COUNT.sub("", function).split("\n")
    others = " ".join(line for line in lines if not _CALL.match(line))
    borrowed = counted - set(re.findall(r"%arg\.[\w.]+", others))
    return _COUNT.sub(lambda count: "" if count[1] in borrowed else count[0], function)
