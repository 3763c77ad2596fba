"""Checkpoint files: safetensors, with everything that is no array as JSON in the metadata.

A file is either the old one or the whole new one, whatever happens meanwhile: it is written
beside its place, flushed to the disk, and moved there.
"""

import json
import os
from pathlib import Path

import numpy as np

FORMAT = 1
_KEY = "gpurnn"


class CheckpointError(ValueError):
    """A file that is no checkpoint, or not one that fits."""


def write_checkpoint(path, tensors, metadata):
    """Write NumPy arrays by name and a JSON-able dict to `path`, atomically."""
    from safetensors.numpy import save

    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    contiguous = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    text = json.dumps({"format": FORMAT, **metadata})
    try:
        with open(partial, "wb") as file:
            file.write(save(contiguous, metadata={_KEY: text}))
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    if os.name == "posix":
        # The new name, too, is on the disk before anyone relies on it.
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


def read_checkpoint(path):
    """(arrays by name, metadata) of a checkpoint.

    CheckpointError, naming the file, if it cannot be read, is truncated, or is another
    program's.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(_KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a whole safetensors file ({error})") from error
    try:
        metadata = json.loads(text or "")
    except ValueError:
        raise CheckpointError(f"{path}: a safetensors file, but not of gpurnn") from None
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: expected format {FORMAT} of a checkpoint, got {metadata.get('format')}"
        )
    return tensors, metadata


def part_of(tensors, prefix):
    """The arrays whose names begin with `prefix` and a dot, named by what follows."""
    start = prefix + "."
    return {name[len(start) :]: a for name, a in tensors.items() if name.startswith(start)}


def random_state(rng):
    """The state of a NumPy generator, as JSON can hold it."""

    def plain(value):
        if isinstance(value, dict):
            return {name: plain(part) for name, part in value.items()}
        return value.tolist() if isinstance(value, np.ndarray) else value

    return plain(rng.bit_generator.state)


def restore_random_state(rng, state):
    """Put a generator into a state of `random_state`; ValueError if it is of another kind."""
    if state["bit_generator"] != rng.bit_generator.state["bit_generator"]:
        raise ValueError(
            f"random state: expected one of {rng.bit_generator.state['bit_generator']}, "
            f"got one of {state['bit_generator']}"
        )
    rng.bit_generator.state = state
