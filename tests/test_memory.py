"""The experiment of memory: its networks, its verdict, its command."""

import json
import math
import re

import numpy as np
import pytest

for _name in ("typer", "tqdm", "safetensors"):
    pytest.importorskip(_name)

import gpurnn.cli  # noqa: E402
from gpurnn.learning.metrics_log import MetricsLog  # noqa: E402
from gpurnn.memory import TASKS, Answering, Training, measure  # noqa: E402
from gpurnn.memory_report import table  # noqa: E402
from tests.differences import assert_is_gradient  # noqa: E402

TINY = Training(hidden=3, batch=4, updates=2, dtype="float64")


@pytest.mark.parametrize("name", TASKS)
def test_the_networks_learn_by_the_gradient(name):
    task = TASKS[name]
    network = Answering("rnn", task, TINY)
    x, answers = task.draw(3, 4, np.random.default_rng(0), "float64")
    answer, backward = network.forward(x)
    backward(task.loss(answer, answers)[1])
    for parameter, array in network.params.items():
        gradient = network.grads[parameter]
        assert_is_gradient(gradient, lambda: task.loss(network(x), answers)[0], array, parameter)


def test_forgetting_begins_late():
    network = Answering("lstm", TASKS["copy"], TINY)
    bias = network.params["recurrent.bias_ih_l0"]
    assert np.all(bias[3:6] == 1) and np.all(np.abs(np.delete(bias, range(3, 6))) < 1)


def test_a_short_lag_is_learnt_and_told():
    seen = []
    training = Training(hidden=16, batch=32, updates=600, lr=2e-2, dtype="float64")
    result = measure("adding", "rnn", 2, training, seen.append)
    assert result["solved"] and result["held_out"] < result["baseline"] / 10
    assert result["updates_taken"] == len(seen) < 600 and seen[0] > result["baseline"] / 10
    assert len(result["gradient_norms"]) == 3
    assert re.search(r"adding +2 +0\.167 +0\.0\d\d solved at \d+", table([result]))
    json.dumps(result, allow_nan=False)


def test_divergence_is_no_success(tmp_path):
    """A loss that is not finite ends the run, and is null in the log."""
    result = measure("adding", "rnn", 2, Training(3, 4, 60, lr=1e308, dtype="float64"))
    assert not math.isfinite(result["held_out"]) and result["updates_taken"] == 50
    assert not result["solved"] and "not solved" in table([result])
    with MetricsLog(tmp_path / "log") as log:
        log.write(norms=[1.0, math.nan], held_out=result["held_out"])
    assert json.loads((tmp_path / "log").read_text()) == {"norms": [1.0, None], "held_out": None}


@pytest.fixture
def memory_command(tmp_path, monkeypatch, capsys):
    """Runs `gpurnn memory` in an empty folder: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)

    def run(arguments):
        with pytest.raises(SystemExit) as ended:
            gpurnn.cli.main(["memory", *arguments.split()])
        out, error = capsys.readouterr()
        return ended.value.code or 0, out, error

    return run


def test_command(memory_command, tmp_path):
    arguments = "--cell rnn --lag 4 --lag 2 --hidden 3 --batch 4 --updates 2 --out found"
    code, out, error = memory_command(arguments)
    assert (code, error) == (0, "")
    lines = [json.loads(line) for line in (tmp_path / "found/memory.jsonl").open()]
    assert [(line["task"], line["lag"]) for line in lines] == [
        ("adding", 2), ("adding", 4), ("copy", 2), ("copy", 4)
    ]  # fmt: skip
    assert all(line["updates_taken"] == 2 and not line["solved"] for line in lines)
    assert lines[2]["baseline"] == math.log(8) and len(lines[2]["gradient_norms"]) == 2 + 6 + 1
    assert re.search(r"copy +4 +2\.079 +2\.\d{3} not solved", out)
    assert (tmp_path / "found/memory.png").exists() == ("picture: found" in out)
    code, _, error = memory_command(arguments)
    assert code == 1 and "--out found: holds memory.jsonl: take another folder" in error
    assert memory_command("--lag 1")[0] == 2 and memory_command("--task sorting")[0] == 2
    if not gpurnn.cuda.is_available():
        assert "--device cuda: " in memory_command("--device cuda")[2]
