"""References to kernels' arguments are not counted, where nothing but that is done with them."""

import re
import sys
import weakref

import numpy as np
import pytest

import gpurnn
from gpurnn.kernels.cpu.borrowing import without_counts_of_arguments
from gpurnn.kernels.cpu.compiling import kernel, part
from gpurnn.kernels.cpu.forward_units import forward_units


@part
def _same(a):
    return a


@part
def _one_of(a, b, first):
    if first:
        chosen = a
    else:
        chosen = b
    return chosen[1:]


@kernel("test_borrowing choose")
def _choose(a, b, first):
    chosen = _one_of(a, b, first)
    chosen[0] = 1
    return _same(_same(chosen)), _same(a)


@kernel("test_borrowing swap")
def _swap_and_sum(a, b, times):
    made = np.full(a.size, 3.0)
    for _ in range(times):
        a, b, made = b, made, a
    return a[0] + 10 * b[0] + 100 * made[0]


def _loops(function):
    """The text of those basic blocks of a function's LLVM assembly that may come again."""
    blocks = dict(
        re.findall(r'(?ms)^"?([-\w.$]+)"?:(.*?)(?=^"?[-\w.$]+"?:|\Z)', "entry:\n" + function)
    )
    following = {name: re.findall(r'label %"?([-\w.$]+)', text) for name, text in blocks.items()}
    for name, text in blocks.items():
        reached, ahead = set(), [*following[name]]
        while ahead:
            block = ahead.pop()
            if block not in reached:
                reached.add(block)
                ahead += following.get(block, ())
        if name in reached:
            yield text


def test_a_time_loop_counts_nothing(monkeypatch, tmp_path):
    """It was called 84 times to count one more before."""
    monkeypatch.setenv("GPURNN_CACHE_DIR", str(tmp_path))
    layer = gpurnn.RNN(3, 4)
    recurrence = layer._recurrence(0)
    run = forward_units.__wrapped__(recurrence.cell, recurrence.dtype)
    monkeypatch.setitem(vars(recurrence), "_forward_units", {False: run})
    layer(np.zeros((2, 1, 3), np.float32))
    (assembly,) = run.inspect_llvm().values()
    assert "call void @NRT_decref(" in assembly, "its own arrays are to be freed"
    functions = [
        f for f in re.split(r"(?m)^define ", assembly)[1:] if "call void @NRT_incref(" in f
    ]
    assert functions, "the names of these calls have changed"
    for function in functions:
        for text in _loops(function):
            assert "call void @NRT_incref(" not in text


def test_loops_are_found():
    text = """void @f() {
  br label %again
again:                ; preds = %again, %entry
  call void @g()
  br i1 %c, label %again, label %"B2.end"
"B2.end":
  ret void
}"""
    assert ["@g" in block for block in _loops(text)] == [True]


@pytest.mark.parametrize("first", [True, False])
def test_what_is_returned_keeps_its_array_and_no_more(first):
    a, b = np.zeros(100_000), np.zeros(100_000)
    before = sys.getrefcount(a), sys.getrefcount(b)
    for _ in range(1000):
        results = _choose(a, b, first)
    gone = weakref.ref(a if first else b)
    chosen, same = results
    assert chosen[0] == 1 and (a if first else b)[1] == 1 and np.shares_memory(same, a)
    del results, chosen, same
    assert (sys.getrefcount(a), sys.getrefcount(b)) == before
    del a, b
    assert gone() is None


@pytest.mark.parametrize("times", range(4))
def test_names_may_change_their_arrays(times):
    order = [1.0, 2.0, 3.0]
    order = order[times % 3 :] + order[: times % 3]
    for _ in range(1000):
        a, b = np.full(10_000, 1.0), np.full(10_000, 2.0)
        assert _swap_and_sum(a, b, times) == order[0] + 10 * order[1] + 100 * order[2]
        assert sys.getrefcount(a) == sys.getrefcount(b) == 2


FUNCTION = """define i32 @f(ptr %arg.a.0, ptr %arg.b.0) {
  tail call void @NRT_incref(ptr %arg.a.0) #1
  call void @NRT_incref(ptr %arg.b.0)
  call i32 @g(ptr %arg.a.0, ptr %arg.b.0)
  store ptr %arg.b.0, ptr %x
  call void @NRT_decref(ptr %arg.a.0)
  call void @NRT_decref(ptr %made)
  ret i32 0
}
"""


def test_counts_stay_of_what_is_stored_or_made():
    assembly = without_counts_of_arguments("declare void @NRT_incref(ptr)\n" + 2 * FUNCTION)
    lines = [line for line in FUNCTION.splitlines(True) if "ref(ptr %arg.a" not in line]
    assert assembly == "declare void @NRT_incref(ptr)\n" + 2 * "".join(lines)
