"""The bench harness: its logic, and one run of it on tiny shapes with the peers there are."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench import measuring, prepared, stored, summary
from bench.cases import Case
from bench.prepared import Prepared

ROOT = Path(__file__).parent.parent
TINY = ["--rounds", "1", "--threads", "1", "--product-size", "64", "--copy-megabytes", "1"]
CELLS = ("rnn", "lstm", "gru")
PEERS = ("gpurnn", "numpy", "torch", "onnxruntime", "openvino", "jax")
TRAIN = ("torch", "jax")


def run(module, *arguments):
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """(what was printed, the JSON report, the folder of its files) of one run of everything."""
    folder = tmp_path_factory.mktemp("bench")
    files = ["--json", str(folder / "all.json"), "--store", str(folder / "ratios.json")]
    done = run("bench", *TINY, "--shape", "1,2,4,5", "--shape", "3,2,4,5", "--markdown", *files)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads((folder / "all.json").read_text()), folder


@pytest.mark.parametrize("peer", PEERS)
def test_every_peer_agrees(tiny, peer):
    printed, report, _ = tiny
    assert peer in printed
    if peer in report["absent"]:
        pytest.skip(f"{peer}: {report['absent'][peer]}")
    rows = [row for row in report["results"] if peer in row["median_seconds"]]
    modes = ("inference", "training") if peer in ("gpurnn", *TRAIN) else ("inference",)
    expected = {(mode, cell, T) for mode in modes for cell in CELLS for T in (1, 3)}
    expected |= {("stream", cell, 1) for cell in CELLS}
    assert {(row["mode"], row["cell"], row["T"]) for row in rows} == expected
    for row in rows:
        assert row["median_seconds"][peer] > 0
        # The last peer is what the others are compared with.
        assert row["differences"].get(peer, 0) < 1e-5


def test_what_a_run_tells(tiny):
    printed, report, _ = tiny
    assert len(report["results"]) == 15
    assert "GFLOP/s" in printed and "GB/s" in printed and "geometric mean" in printed
    assert "| 3, 2, 4, 5 |" in printed and "LSTM training" in printed
    assert report["limits"]["copy_gbs"] > 0
    assert all(rate > 0 for rate in report["limits"]["product_gflops"].values())
    for row in report["results"]:
        others = set(row["median_seconds"]) - {"gpurnn"}
        assert row["best_peer"] in (others or {None})


def test_a_stored_run_is_compared_with(tiny):
    _, report, folder = tiny
    before = stored.load(folder / "ratios.json")
    rows = [row for row in report["results"] if row["best_peer"]]
    assert stored.fallen(before, rows) == ([], len(rows))
    assert stored.differing_machine(before, report["machine"]) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--shape", "3,2,4"],
        ["--rounds", "0"],
        ["--cell", "x"],
        ["--shape", "3,2,4,5", "--mode", "stream"],
    ],
)
def test_bad_options(arguments):
    done = run("bench", *arguments)
    assert done.returncode == 2 and arguments[0] in done.stderr and "Traceback" not in done.stderr


def test_a_stored_file_that_is_none(tmp_path):
    file = tmp_path / "ratios.json"
    for text in ("{}", "[1]", "no JSON", '{"ratios": {"a": 1}, "machine": {}}'):
        file.write_text(text)
        with pytest.raises(ValueError, match="ratios.json: expected what --store writes"):
            stored.load(file)
    done = run("bench", "--against", str(file))
    assert done.returncode == 1 and "ratios.json" in done.stderr and "Traceback" not in done.stderr


def test_a_wrong_result_is_not_timed():
    def peer(value):
        return Prepared(lambda: (np.full(3, value),), np.asarray)

    case = Case("lstm", 1, 1, 1, 1)
    for wrong in (1.1, float("nan")):
        with pytest.raises(measuring.Disagreement, match="lstm.*gpurnn differs from numpy"):
            measuring.check(case, "inference", {"gpurnn": peer(wrong), "numpy": peer(1.0)})


def test_a_stream_is_checked_after_several_steps():
    def counting(step):
        count = 0

        def run():
            nonlocal count
            count += step
            return (np.array([count / step if count < 3 * step else count]),)

        return Prepared(run, np.asarray)

    with pytest.raises(measuring.Disagreement):
        case = Case("rnn", 1, 1, 1, 1)
        measuring.check(case, "stream", {"gpurnn": counting(1), "numpy": counting(2)})


class Clock:
    """Time that passes only in the functions that are timed."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(measuring.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(measuring.time, "sleep", lambda seconds: None)

    def taking(self, seconds):
        def function():
            self.now += seconds

        return function


def test_rounds_follow_the_time(monkeypatch):
    clock = Clock(monkeypatch)
    functions = {"gpurnn": clock.taking(2.0), "peer": clock.taking(1.0), "slow": clock.taking(9.0)}
    samples = measuring.time_interleaved(functions, rounds=9, seconds=60)
    assert [len(samples[name]) for name in functions] == [4, 4, 3]
    np.testing.assert_allclose(samples["slow"], 9.0)
    functions = {"gpurnn": clock.taking(1.0), "peer": clock.taking(0.1)}
    samples = measuring.time_interleaved(functions, rounds=9, seconds=60)
    assert [len(samples[name]) for name in functions] == [9, 9]  # gpurnn is never left out


def test_the_quickest_way_is_taken(monkeypatch):
    clock, made = Clock(monkeypatch), []

    def maker(name, seconds):
        def make():
            made.append(name)
            return clock.taking(seconds)

        return make

    before = clock.now
    prepared.fastest(maker("a", 0.2), maker("b", 0.1), maker("c", 0.3))()
    assert made == ["a", "b", "c", "b"] and clock.now > before
    prepared.fastest(maker("only", 1.0))
    assert made[-1] == "only" and len(made) == 5


def row(mode="inference", cell="lstm", T=1, torch=1.0, jax=2.0):
    """As of a run in which gpurnn took one second."""
    medians = {"gpurnn": 1.0, "torch": torch, "jax": jax}
    best = min(("torch", "jax"), key=medians.get)
    sizes = {"cell": cell, "T": T, "B": 1, "I": 2, "H": 3, "mode": mode}
    ratio = medians[best]
    return {**sizes, "median_seconds": medians, "best_peer": best, "speed_vs_best_peer": ratio}


def test_geometric_means():
    assert summary.geometric_mean([2.0, 8.0]) == pytest.approx(4.0)
    assert summary.geometric_mean([]) is None
    rows = [row(torch=2.0, jax=4.0), row(cell="gru", torch=18.0, jax=8.0)]
    rows += [row(mode="training", torch=1.0), row(mode="stream", torch=0.25, jax=0.125)]
    lines = {name: (best, torch) for name, best, torch in summary.means(rows)}
    assert lines == {
        "inference": pytest.approx((4.0, 6.0)),
        "training": pytest.approx((1.0, 1.0)),
        "stream": pytest.approx((0.125, 0.25)),
        "inference and training": pytest.approx((16 ** (1 / 3), 36 ** (1 / 3))),
    }


def test_means_without_peers():
    alone = {**row(), "median_seconds": {"gpurnn": 1.0}, "best_peer": None}
    alone["speed_vs_best_peer"] = None
    assert summary.means([alone]) == [("inference", None, None)]
    assert summary.slower([alone]) == []
    assert list(summary.summary_lines([alone])) and "| - |" in summary.markdown([alone])


def test_slower_cases_are_named_worst_first():
    rows = [row(torch=0.5), row(cell="gru", torch=0.25), row(cell="rnn", torch=1.5)]
    text = "\n".join(summary.summary_lines(rows))
    assert "in 2 of 3 cases" in text and "inference rnn" not in text
    assert text.index("inference gru 1,1,2,3") < text.index("inference lstm 1,1,2,3")


def test_falls_beyond_the_margin(tmp_path):
    machine = {"name": "a", "device": "cpu", "threads": 2, "versions": {"numpy": "2"}}
    stored.store(tmp_path / "f", machine, [row(torch=1.0), row(cell="gru", torch=1.0)])
    before = stored.load(tmp_path / "f")
    now = [row(torch=0.84), row(cell="gru", torch=0.86), row(cell="rnn", torch=0.1)]
    lines, compared = stored.fallen(before, now)
    assert compared == 2  # a case that was not stored is not compared
    assert lines == ["inference lstm 1,1,2,3: 0.84 x torch, was 1.00 x torch"]
    assert stored.differing_machine(before, machine) == []
    other = {**machine, "threads": 4, "versions": {"numpy": "3"}}
    assert [line.split(" than")[0] for line in stored.differing_machine(before, other)] == [
        "another threads",
        "another numpy",
    ]


def test_roofline(tmp_path):
    pytest.importorskip("matplotlib")
    from bench import roofline

    class Meter:
        threads, copy_gbs, best_product_gflops = 2, 10.0, 100.0
        product_gflops = {"gpurnn": 100.0, "numpy": 50.0}

    large = {**row(cell="gru", T=2), "B": 32, "H": 512}
    rows = [{**r, "gflops": 5.0} for r in (row(), large, row(mode="training", cell="rnn"))]
    file = tmp_path / "roofline.png"
    roofline.draw(file, rows, Meter(), {"name": "a machine"}, {"gpurnn": 60.0}, 40.0)
    assert file.read_bytes().startswith(b"\x89PNG")
