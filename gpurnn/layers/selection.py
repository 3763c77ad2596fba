"""Some of a layer's parameters, together."""

from operator import is_, itemgetter


def _nothing(params):
    return ()


class Selection:
    """Parameters by names, of which some may be None.

    As long as they are the same arrays it is the same tuple that is found: whoever made something
    ready for them sees at a glance whether it holds.
    """

    def __init__(self, names):
        self.names = names
        present = [name for name in names if name]
        # Twice the first, for itemgetter gives no tuple of one.
        self._get = itemgetter(*present[:1], *present) if present else _nothing
        self._last = None

    def of(self, layer):
        """A tuple of arrays, checked to lie where the layer's kernels can read them, or None."""
        found = self._get(layer.params)
        last = self._last
        if last is None or not all(map(is_, found, last[0])):
            values = tuple([name and layer._parameter(name) for name in self.names])
            last = self._last = found, values
        return last[1]
