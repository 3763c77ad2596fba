"""The bench harness, on one tiny shape."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TINY = ["--shape", "3,2,4,5", "--rounds", "1", "--product-size", "64", "--copy-megabytes", "1"]


def bench(*arguments):
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)


def test_one_tiny_shape(tmp_path):
    file = tmp_path / "bench.json"
    done = bench(*TINY, "--threads", "1", "--json", str(file))
    assert done.returncode == 0, done.stderr
    report = json.loads(file.read_text())
    assert {(row["mode"], row["cell"]) for row in report["results"]} == {
        (mode, cell) for mode in ("inference", "training") for cell in ("rnn", "lstm", "gru")
    }
    peers = {"numpy"}
    peers |= {"torch"} if find_spec("torch") else set()
    peers |= {"onnxruntime"} if find_spec("onnxruntime") and find_spec("onnx") else set()
    for row in report["results"]:
        expected = peers if row["mode"] == "inference" else peers & {"torch"}
        assert set(row["median_seconds"]) == {"gpurnn", *expected}
        assert all(seconds > 0 for seconds in row["median_seconds"].values())
        assert row["best_peer"] in (expected or {None})
        assert all(difference < 1e-5 for difference in row["differences"].values())
    assert report["limits"]["copy_gbs"] > 0
    assert all(rate > 0 for rate in report["limits"]["product_gflops"].values())
    for name in ("torch", "onnxruntime"):
        assert (name in report["absent"]) == (name not in peers)
        assert name in done.stdout
    assert "GFLOP/s" in done.stdout and "GB/s" in done.stdout


@pytest.mark.parametrize("arguments", [["--shape", "3,2,4"], ["--rounds", "0"], ["--cell", "x"]])
def test_bad_options(arguments):
    done = bench(*arguments)
    assert done.returncode == 2 and arguments[0] in done.stderr and "Traceback" not in done.stderr


def test_a_wrong_result_is_not_timed():
    import numpy as np

    from bench.cases import Case
    from bench.measuring import Disagreement, check
    from bench.prepared import Prepared

    def peer(value):
        return Prepared({"inference": lambda: (np.full(3, value),)}, np.asarray)

    case = Case("lstm", 1, 1, 1, 1)
    for wrong in (1.1, float("nan")):
        with pytest.raises(Disagreement, match="lstm.*gpurnn differs from numpy"):
            check(case, "inference", {"gpurnn": peer(wrong), "numpy": peer(1.0)})
