"""The command line, in this process and in a process of its own."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

for _name in ("typer", "tqdm", "safetensors"):
    pytest.importorskip(_name)

import gpurnn.cli  # noqa: E402
from gpurnn.job import load_language_model  # noqa: E402
from gpurnn.learning.checkpoint import read_checkpoint, write_checkpoint  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
SMALL = "--cell gru --hidden 12 --embedding 6 --batch 4 --steps 20 --device cpu".split()
TEXT = "".join(f"The number {n} is {'odd' if n % 2 else 'even'}.\n" for n in range(120))


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "numbers.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture
def gpurnn_command(tmp_path, monkeypatch, capsys):
    """Runs the command in an empty folder: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            gpurnn.cli.main([str(argument) for argument in arguments])
        out, error = capsys.readouterr()
        return ended.value.code or 0, out, error

    return run


def test_train_generate_resume(gpurnn_command, text, tmp_path):
    code, out, error = gpurnn_command("train", text, *SMALL, "--epochs", 2)
    assert (code, error) == (0, "")
    assert re.search(r"epoch +2/2 +held out \d\.\d{3} bits/char .* [\d,]+ chars/s", out)
    assert "    | " in out
    assert sorted(p.name for p in Path("runs/1").iterdir()) == [
        "best.safetensors", "last.safetensors", "metrics.jsonl"
    ]  # fmt: skip

    write = ("generate", "runs/1", "--prompt", "The ", "--length", 30, "--seed", 5)
    code, out, _ = gpurnn_command(*write)
    assert code == 0 and out.startswith("The ") and len(out) == 4 + 30 + 1
    assert gpurnn_command(*write)[1] == out
    assert gpurnn_command(*write, "--top-k", 1)[1] == gpurnn_command(*write, "--temperature", 0)[1]

    code, out, _ = gpurnn_command("train", "--resume", "runs/1", "--epochs", 3)
    assert code == 0 and "resumed   in epoch 3" in out and "epoch   3/3" in out
    assert not Path("runs/2").exists()


def test_resumed_in_a_new_process_equals_an_uninterrupted_run(gpurnn_command, text):
    """Ctrl-C in the middle, and on: the same file as without."""
    options = [*SMALL, "--epochs", "4", "--dropout", "0.1", "--layers", "2", "--steps", "5"]
    gpurnn_command("train", text, *options, "--out", "whole")
    command = [sys.executable, "-m", "gpurnn", "train", str(text), *options, "--out", "parts"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    deadline = time.monotonic() + 120
    while not Path("parts/metrics.jsonl").exists() or not Path("parts/metrics.jsonl").read_text():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert re.fullmatch(r"gpurnn: interrupted in .* saved: parts.last.safetensors .*\n", error)
    assert gpurnn_command("train", "--resume", "parts/last.safetensors")[0] == 0
    for name in ("last", "best"):
        whole, parts = (read_checkpoint(f"{run}/{name}.safetensors") for run in ("whole", "parts"))
        assert whole[1] == parts[1]
        assert whole[0].keys() == parts[0].keys()
        for tensor, array in whole[0].items():
            assert np.array_equal(parts[0][tensor], array), tensor


def test_load_language_model(gpurnn_command, text):
    gpurnn_command("train", text, *SMALL, "--epochs", 1, "--dtype", "float64", "--out", "run")
    model, vocabulary = load_language_model("run/best.safetensors")
    assert model.dtype == np.float64
    assert vocabulary.decode(vocabulary.encode("The number")) == "The number"
    logits, _ = model(vocabulary.encode("even")[:, None])
    assert logits.shape == (4, 1, len(vocabulary))


def test_diverging_stops_with_a_reason(gpurnn_command, text):
    code, _, error = gpurnn_command(
        "train", text, *SMALL, "--epochs", 5, "--lr", 1e38, "--out", "run"
    )
    assert code == 1
    assert re.fullmatch(r"gpurnn: .*(nan|inf|not finite).* in epoch 1, after step \d+ .*\n", error)
    assert not Path("run/last.safetensors").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "numbers.txt: cannot be read: No such file or directory"),
        (b"", "numbers.txt: is empty"),
        (b"caf\xe9" * 50, "numbers.txt: not UTF-8 text: byte 0xe9 at position 3"),
        (b"too short", "numbers.txt: too short: has 9 characters"),
    ],
)
def test_unusable_texts(gpurnn_command, text, content, message):
    text.unlink()
    if content is not None:
        text.write_bytes(content)
    code, _, error = gpurnn_command("train", text, *SMALL)
    assert code == 1
    assert error.startswith("gpurnn: ") and error.count("\n") == 1 and message in error
    assert not Path("runs").exists()


def test_checkpoints_that_do_not_fit(gpurnn_command, text):
    gpurnn_command("train", text, *SMALL, "--epochs", 1, "--out", "run")
    last = Path("run/last.safetensors")
    whole = last.read_bytes()

    def failing(*arguments):
        code, _, error = gpurnn_command(*arguments)
        assert code == 1 and error.startswith("gpurnn: ") and error.count("\n") == 1
        return error

    resume = ("train", "--resume", last)
    assert "was trained with 12" in failing(*resume, "--hidden", 24)
    assert "has all its 1 epochs" in failing(*resume)
    assert "take another folder, or --resume run" in failing("train", text, "--out", "run")
    assert last.read_bytes() == whole
    other = Path("other.txt")
    other.write_text(TEXT.replace("odd", "ODD"))
    assert "another text than other.txt" in failing("train", other, "--resume", last, "--epochs", 2)
    text.unlink()
    assert "numbers.txt: cannot be read" in failing(*resume, "--epochs", 2)
    text.write_text(TEXT)
    last.write_bytes(whole[:1000])
    assert "not a whole safetensors file" in failing(*resume)
    write_checkpoint(last, {"a": np.zeros(2)}, {"hello": 1})
    assert "not a checkpoint of a language model" in failing("generate", last)
    assert "no such file" in failing("generate", "nowhere.safetensors")
    assert "not in the vocabulary of" in failing("generate", "run", "--prompt", "日本")
    assert "top_p: expected" in failing("generate", "run", "--top-p", 3)
    tensors, metadata = read_checkpoint("run/best.safetensors")
    tensors["model.output.bias"] = np.zeros(3, np.float32)
    write_checkpoint(last, tensors, {k: v for k, v in metadata.items() if k != "format"})
    assert "last.safetensors: state" in failing("generate", last)
    assert "output.bias" in failing(*resume, "--epochs", 2)


def test_cuda_asked_for_where_there_is_none(gpurnn_command, text, monkeypatch):
    monkeypatch.setattr(gpurnn.cuda, "why_not", lambda: "no CUDA device")
    monkeypatch.setattr(gpurnn.cuda, "is_available", lambda: False)
    code, _, error = gpurnn_command("train", text, "--device", "cuda")
    assert (code, error) == (1, "gpurnn: --device cuda: no CUDA device\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--cell", "ltsm"],
        ["train", "--hidden", "0"],
        ["train", "--epochs", "many"],
        ["train", "--no-such-option"],
        ["generate"],
        ["fly"],
    ],
)
def test_wrong_usage(gpurnn_command, arguments):
    code, _, error = gpurnn_command(*arguments)
    assert code == 2
    assert "Error: " in error and "Traceback" not in error


def test_info(gpurnn_command):
    code, out, _ = gpurnn_command("info")
    assert code == 0
    lines = dict(re.split(r"  +", line, maxsplit=1) for line in out.splitlines())
    assert lines["numpy"] == np.__version__
    assert lines["threads"] == str(gpurnn.get_num_threads())
    assert "writable" in lines["kernel cache"]
    expected = "compute capability" if gpurnn.cuda.is_available() else "not available: "
    assert expected in lines["cuda"]


def test_without_typer(gpurnn_command, monkeypatch):
    monkeypatch.setattr(gpurnn.cli, "find_spec", lambda name: None if name == "typer" else True)
    code, _, error = gpurnn_command("info")
    assert code == 1
    assert error == "gpurnn: typer is not installed: pip install 'gpurnn[cli]'\n"
