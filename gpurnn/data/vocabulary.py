"""Characters and their numbers."""

import numpy as np


class Vocabulary:
    """The different characters of a text, numbered in the order of their code points.

    `characters`: a string, each character once. `len(vocabulary)` is their number.
    """

    def __init__(self, characters):
        if not characters:
            raise ValueError("characters: expected at least one, got none")
        self._code_points = _code_points(characters)
        if np.any(self._code_points[1:] <= self._code_points[:-1]):
            raise ValueError("characters: expected each once, in the order of their code points")
        self.characters = characters

    @classmethod
    def of(cls, text):
        """The vocabulary of a text."""
        return cls("".join(sorted(set(text))))

    def __len__(self):
        return len(self.characters)

    def encode(self, text):
        """The numbers of a text's characters, int32 (length,).

        ValueError naming the characters that are not in the vocabulary.
        """
        points = _code_points(text)
        codes = np.searchsorted(self._code_points, points).astype(np.int32)
        known = self._code_points[np.minimum(codes, len(self) - 1)] == points
        if not known.all():
            strange = sorted({text[i] for i in np.flatnonzero(~known)})
            shown = ", ".join(repr(c) for c in strange[:5]) + (", ..." if len(strange) > 5 else "")
            raise ValueError(f"text: not in the vocabulary of {len(self)} characters: {shown}")
        return codes

    def decode(self, codes):
        """The text of a 1-d sequence of numbers."""
        return "".join(self.characters[code] for code in codes)


def _code_points(text):
    # surrogatepass: a command line may hold bytes that are no UTF-8; they get numbers as well.
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
