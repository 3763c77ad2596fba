"""The metrics log: one JSON object a line."""

import json
import math


class MetricsLog:
    """Appends to the file `path`; a line is in the file as soon as `write` returns."""

    def __init__(self, path):
        self._file = open(path, "a", encoding="utf-8", buffering=1)

    def write(self, **values):
        """Append one line. NaN and infinities, which JSON lacks, become null, in lists too."""
        plain = {name: _plain(value) for name, value in values.items()}
        self._file.write(json.dumps(plain) + "\n")

    def close(self):
        """Close the file."""
        self._file.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


def _plain(value):
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
