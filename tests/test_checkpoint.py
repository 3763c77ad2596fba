"""Checkpoint files: whole, atomic, and refused with a reason when they are not ours."""

import json
import os

import numpy as np
import pytest

pytest.importorskip("safetensors")

from safetensors.numpy import save_file  # noqa: E402

from gpurnn.learning import checkpoint  # noqa: E402
from gpurnn.learning.checkpoint import (  # noqa: E402
    CheckpointError,
    read_checkpoint,
    write_checkpoint,
)

TENSORS = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.array([np.pi, -0.0, 5e-324]),
    "transposed": np.arange(6.0).reshape(2, 3).T,
}
METADATA = {"settings": {"lr": 0.1 + 0.2, "name": "Grüße 東京"}, "big": 2**127 + 1}


def test_there_and_back(tmp_path):
    path = tmp_path / "x.safetensors"
    write_checkpoint(path, TENSORS, METADATA)
    tensors, metadata = read_checkpoint(path)
    assert METADATA.items() <= metadata.items()
    assert tensors.keys() == TENSORS.keys()
    for name, array in TENSORS.items():
        assert tensors[name].dtype == array.dtype
        assert np.array_equal(tensors[name], array), name


@pytest.mark.parametrize("failing", ["replace", "fsync"])
def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path, monkeypatch, failing):
    path = tmp_path / "x.safetensors"
    write_checkpoint(path, TENSORS, METADATA)
    before = path.read_bytes()

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.os, failing, fail)
    with pytest.raises(OSError, match="No space left"):
        write_checkpoint(path, {"a": np.zeros(1000)}, {})
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["x.safetensors"]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_truncated(tmp_path, share):
    path = tmp_path / "x.safetensors"
    write_checkpoint(path, TENSORS, METADATA)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CheckpointError, match=r"x\.safetensors: not a whole safetensors file"):
        read_checkpoint(path)


def test_not_safetensors_at_all(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"PK\x03\x04" * 1000)
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        read_checkpoint(path)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"gpurnn": "{"}, {"gpurnn": ""}])
def test_another_programs_safetensors(tmp_path, metadata):
    path = tmp_path / "x.safetensors"
    save_file({"weight": np.zeros(3)}, path, metadata)
    with pytest.raises(CheckpointError, match="but not of gpurnn"):
        read_checkpoint(path)


def test_another_format(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"weight": np.zeros(3)}, path, {"gpurnn": json.dumps({"format": 99})})
    with pytest.raises(CheckpointError, match="expected format 1 of a checkpoint, got 99"):
        read_checkpoint(path)


def test_missing(tmp_path):
    with pytest.raises(CheckpointError, match=r"nix\.safetensors: no such file"):
        read_checkpoint(tmp_path / "nix.safetensors")


@pytest.mark.parametrize("kind", ["PCG64", "MT19937", "Philox"])
def test_random_state_there_and_back(kind):
    def generator(seed):
        return np.random.Generator(getattr(np.random, kind)(seed))

    first, second = generator(1), generator(2)
    first.random(7)
    state = json.loads(json.dumps(checkpoint.random_state(first)))
    expected = first.random(5)
    checkpoint.restore_random_state(second, state)
    assert np.array_equal(second.random(5), expected)


def test_random_state_of_another_kind():
    state = checkpoint.random_state(np.random.Generator(np.random.Philox(1)))
    with pytest.raises(ValueError, match="expected one of PCG64, got one of Philox"):
        checkpoint.restore_random_state(np.random.default_rng(), state)
