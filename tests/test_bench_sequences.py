"""The bench of CTC and attention compares results, and times what it says."""

import pytest

from bench import measuring, sequences
from tests.test_bench import run


def test_shapes_are_timed():
    arguments = ("--ctc", "6,2,4,2", "--attention", "3,5,2,4", "--rounds", "1", "--threads", "1")
    done = run("bench.sequences", *arguments)
    assert done.returncode == 0, done.stderr
    for name in ("ctc 6,2,4,2", "additive 3,5,2,4", "general 3,5,2,4"):
        assert name in done.stdout


def test_another_result_is_not_timed():
    torch = pytest.importorskip("torch")
    ours, pytorch = sequences.ctc(6, 2, 4, 2)
    loss, dlogits = ours()
    with pytest.raises(measuring.Disagreement):
        sequences.measure("ctc", (lambda: (loss * 1.1, dlogits), pytorch), 1, 1, torch)


def test_wrong_shapes_are_refused(capsys):
    with pytest.raises(SystemExit):
        sequences.main(("--ctc", "1,2,3"))
    assert "expected T,B,V,S" in capsys.readouterr().err
