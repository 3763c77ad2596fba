"""Parallel streams: a long sequence laid out for truncated back-propagation through time.

The sequence is cut into `batch_size` pieces that are read side by side, a chunk of steps at a
time; the network's state is carried from chunk to chunk, so that no piece is ever broken.
"""

import numpy as np

from gpurnn.arrays import to_device


class Streams:
    """`codes` (N,) integers, as `batch_size` streams in chunks of `steps`.

    Each code but the last is an input, the one after it its target. Used are all but `dropped`
    (fewer than `batch_size`) pairs at the end. The last chunk may be shorter than `steps`.
    ValueError if there is less than one pair a stream.
    """

    def __init__(self, codes, batch_size, steps, device="cpu"):
        for name, value in (("batch_size", batch_size), ("steps", steps)):
            if value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        pairs = len(codes) - 1
        length = pairs // batch_size
        if length < 1:
            raise ValueError(
                f"codes: expected more than batch_size = {batch_size} of them, got {len(codes)}"
            )
        self.batch_size = batch_size
        self.steps = steps
        self.length = length
        self.dropped = pairs - length * batch_size
        # Row t holds the inputs of step t, row t + 1 their targets: (length + 1, batch_size).
        starts = np.arange(batch_size) * length
        rows = np.asarray(codes)[starts + np.arange(length + 1)[:, None]]
        self._rows = to_device(np.ascontiguousarray(rows), device)

    def __len__(self):
        """The number of chunks."""
        return -(-self.length // self.steps)

    def __getitem__(self, index):
        """Chunk `index`: inputs and targets, each (steps, batch_size), on the streams' device."""
        if not 0 <= index < len(self):
            raise IndexError(f"index: expected 0 to {len(self) - 1}, got {index}")
        start = index * self.steps
        end = min(start + self.steps, self.length)
        return self._rows[start:end], self._rows[start + 1 : end + 1]
