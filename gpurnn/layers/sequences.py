"""How layers take sequences and give them out: checked, and inside always (T, B, ...)."""

from ..arrays import check_array, module_of

_TIME_MAJOR, _BATCH_FIRST = ("T", "B", "N"), ("B", "T", "N")


class SequenceLayer:
    """What layers of sequences share: those with `device`, `dtype` and `batch_first`."""

    def _outward(self, sequences):
        """From (T, B, ...) to what the caller expects."""
        if self.batch_first:
            return module_of(self.device).ascontiguousarray(sequences.swapaxes(0, 1))
        return sequences

    def _check_sequences(self, a, name, width, steps_and_batch=(None, None)):
        """The caller's sequences as (T, B, width)."""
        lead, letters = steps_and_batch, _TIME_MAJOR
        if self.batch_first:
            lead, letters = lead[::-1], _BATCH_FIRST
        a = check_array(a, name, self.device, self.dtype, (*lead, width), letters)
        if a.size == 0:
            raise ValueError(f"{name}: expected at least one step and one sequence, got {a.shape}")
        if self.batch_first:
            a = module_of(self.device).ascontiguousarray(a.swapaxes(0, 1))
        return a
