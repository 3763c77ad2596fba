"""The bench harness: its logic, and one run of it on tiny shapes with the peers there are."""

import itertools
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bench import (
    idle,
    language_model,
    lengths,
    load,
    measuring,
    prepared,
    progress,
    scan,
    stored,
    summary,
)
from bench.cases import Case
from bench.prepared import Prepared
from bench.side_by_side import side_by_side

ROOT = Path(__file__).parent.parent
TINY = ["--rounds", "1", "--threads", "1", "--product-size", "64", "--copy-megabytes", "1"]
CELLS = ("rnn", "lstm", "gru")
PEERS = ("gpurnn", "numpy", "torch", "onnxruntime", "openvino", "jax")
TRAIN = ("gpurnn", "torch", "jax")


def run(module, *arguments):
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """(what was printed, the JSON report, the stored ratios) of one run of all cells and peers."""
    folder = tmp_path_factory.mktemp("bench")
    files = ["--json", str(folder / "all.json"), "--store", str(folder / "ratios.json")]
    done = run("bench", *TINY, "--shape", "3,2,4,5", "--markdown", *files)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads((folder / "all.json").read_text()), folder / "ratios.json"


@pytest.fixture(scope="module")
def tiny_stream(tmp_path_factory):
    """The JSON report of one run of streams."""
    file = tmp_path_factory.mktemp("bench") / "stream.json"
    done = run("bench", *TINY, "--shape", "1,2,4,5", "--mode", "stream", "--json", str(file))
    assert done.returncode == 0, done.stderr
    return json.loads(file.read_text())


@pytest.mark.parametrize("peer", PEERS)
def test_every_peer_agrees(tiny, tiny_stream, peer):
    printed, report, _ = tiny
    assert peer in printed
    if peer in report["absent"]:
        pytest.skip(f"{peer}: {report['absent'][peer]}")
    rows = report["results"] + tiny_stream["results"]
    rows = [row for row in rows if peer in row["median_seconds"]]
    modes = {"inference", "training", "stream"} if peer in TRAIN else {"inference", "stream"}
    found = {(row["mode"], row["cell"]) for row in rows}
    assert found == {(mode, cell) for mode in modes for cell in CELLS}
    for row in rows:
        assert row["median_seconds"][peer] > 0
        # The last peer is what the others are compared with.
        assert row["differences"].get(peer, 0) < 1e-5


def test_what_a_run_tells(tiny):
    printed, report, _ = tiny
    assert "GFLOP/s" in printed and "GB/s" in printed and "geometric mean" in printed
    assert "| 3, 2, 4, 5 |" in printed and "LSTM training" in printed
    assert report["limits"]["copy_gbs"] > 0
    assert all(rate > 0 for rate in report["limits"]["product_gflops"].values())
    for row in report["results"]:
        others = set(row["median_seconds"]) - {"gpurnn"}
        assert row["best_peer"] in (others or {None})


def test_a_stored_run_is_compared_with(tiny):
    _, report, file = tiny
    before = stored.load(file)
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


def test_others_load(monkeypatch, tmp_path):
    stat = tmp_path / "stat"
    monkeypatch.setattr(load, "STAT", stat)
    ticks = load.os.sysconf("SC_CLK_TCK")
    now = iter([0.0, 10.0])
    monkeypatch.setattr(load.time, "perf_counter", lambda: next(now))
    times = iter([(1, 0, 0, 0, 0), (4, 1, 0, 0, 0)])
    monkeypatch.setattr(load.os, "times", lambda: next(times))
    stat.write_text("cpu 0 0 0 0 0 0 0 0 0 0\n")
    meanwhile = load.Load()
    # user 12 s (of which a guest 5 s), system 2 s, idle 6 s; 4 s of it all were ours
    stat.write_text(f"cpu {12 * ticks} 0 {2 * ticks} {6 * ticks} 0 0 0 0 {5 * ticks} 0\n")
    assert meanwhile.of_others() == pytest.approx(1.0)
    assert "1.0 cores" in load.warning(1.0) and load.warning(0.1) is None
    monkeypatch.setattr(load, "STAT", tmp_path / "none")
    assert load.warning(load.Load().of_others()) is None


def test_progress_tells_the_time_left(monkeypatch, capsys):
    now = iter([0.0, 30.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    shown = progress.Progress([1, 3])
    shown.next("a")
    shown.next("b")
    assert capsys.readouterr().err.splitlines() == ["1/2 a", "2/2 b, 1 min 30 s left"]


def test_the_next_peer_waits_for_busy_threads():
    started = time.perf_counter()

    def spin():
        while time.perf_counter() < started + 0.1:
            pass

    spinning = threading.Thread(target=spin)
    spinning.start()
    idle.settle()
    assert time.perf_counter() - started >= 0.1
    spinning.join()


def test_waiting_has_an_end(monkeypatch):
    used = itertools.count()
    monkeypatch.setattr(idle.time, "process_time", lambda: next(used))
    monkeypatch.setattr(idle, "LONGEST_SECONDS", 0.05)
    started = time.perf_counter()
    idle.settle()
    assert 0.05 <= time.perf_counter() - started < 5


class Clock:
    """Time that passes only in the functions that are timed."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(measuring.time, "perf_counter", lambda: self.now)
        for module in (measuring, prepared):
            monkeypatch.setattr(module, "settle", lambda: None)

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


def test_a_sample_has_as_many_calls_as_fill_it_once_awake(monkeypatch):
    clock, called = Clock(monkeypatch), []

    def function():
        called.append(None)
        clock.now += 0.002 if len(called) > 1 else 0.019

    measuring.time_interleaved({"gpurnn": function}, rounds=1, seconds=60)
    assert len(called) == 2 + 1 + 10


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


def test_the_streaming_handle_is_used_where_there_is_one():
    from bench.peers import ours

    class Layer:
        def stream(self, batch_size):
            assert batch_size == 2
            return self

        def step(self, x):
            return x + 1

    x = np.zeros((1, 2, 3), np.float32)
    step = ours._stream(Layer(), x, wait=lambda: None)
    np.testing.assert_array_equal(step()[0], np.ones((2, 3)))


def test_lengths():
    arguments = ["--shape", "4,3,2,5", "--rounds", "1", "--threads", "1"]
    done = run("bench.lengths", *arguments)
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if "4,3,2,5" in line]
    assert [row.split()[:2] for row in rows] == [
        [mode, cell] for mode in ("inference", "training") for cell in ("lstm", "gru")
    ]


def test_random_lengths_fit():
    lengths_of = lengths.random_lengths(Case("lstm", 5, 200, 1, 1))
    assert lengths_of.shape == (200,) and set(lengths_of) == {1, 2, 3, 4, 5}


def test_scans_are_what_numpy_finds_step_by_step(capsys):
    shape, options = (6, 2, 3, 5), SimpleNamespace(rounds=1, seconds=1)
    same, unlike = scan.peers("MinGRU", shape, training=False)
    side_by_side(shape, False, same, options, unlike)
    assert "times as fast as NumPy" in capsys.readouterr().out
    with pytest.raises(measuring.Disagreement):
        side_by_side(shape, False, same | unlike, options)


def test_language_model():
    sizes = [
        "--cell",
        "rnn",
        "--vocabulary",
        "7",
        "--embedding",
        "4",
        "--hidden",
        "5",
        "--batch",
        "2",
    ]
    done = run("bench.language_model", *sizes, "--steps", "3", "--rounds", "1", "--threads", "1")
    assert done.returncode == 0, done.stderr
    for name in ("gpurnn", "torch", "jax"):
        told = [line for line in done.stdout.splitlines() if line.startswith(name)]
        absent = f"absent: {name}:" in done.stdout
        assert absent or len(told) == 1 and "characters a second" in told[0]


def test_losses_that_differ():
    differing = language_model.differing
    assert differing({"gpurnn": [3.0, 2.0], "torch": [3.0, 2.0005]}) is None
    for wrong in (2.1, float("nan")):
        assert "step 2: torch" in differing({"gpurnn": [3.0, 2.0], "torch": [3.0, wrong]})


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
    assert list(summary.summary_lines([alone])) == [] and "| - |" in summary.markdown([alone])


def test_slower_cases_are_named_worst_first():
    rows = [row(torch=0.5), row(cell="gru", torch=0.25), row(cell="rnn", torch=1.5)]
    text = "\n".join(summary.summary_lines(rows))
    assert "in 2 of 3 cases" in text and "inference rnn" not in text
    assert text.index("inference gru 1,1,2,3") < text.index("inference lstm 1,1,2,3")


def test_the_limits_of_large_cases_are_told():
    large = [
        {**row(T=T), "B": 32, "H": 512, "of_limit": share} for T, share in ((2, 0.9), (3, 0.6))
    ]
    text = "\n".join(summary.summary_lines([row(), *large]))
    assert "60% (inference lstm 3,32,2,512) to 90% (inference lstm 2,32,2,512)" in text


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
