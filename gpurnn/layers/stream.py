"""One step at a time, as fast as it can be: for audio, control, text as it is typed."""

from ..arrays import check_array, check_size, module_of
from .quick_calls import new_steppers


class Stream:
    """A layer that is fed step by step and keeps its state in between; from `layer.stream()`.

    It uses the layer's parameters, and follows them when they change. Nothing is kept for a way
    back, and nothing is dropped.

    Attributes
    ----------
    state : array (L, B, H), or a pair (h, c) of such for an LSTM
        The state after the last step, a copy. Assigning to it, or None for zeros, sets it.
    """

    def __init__(self, layer, batch_size):
        if layer.bidirectional:
            raise ValueError("stream: expected a layer of one direction: the other needs the end")
        self._layer, self._batch = layer, check_size(batch_size, "batch_size")
        self._xp = module_of(layer.device)
        sizes = [layer.input_size] + [layer.output_size] * layer.num_layers
        self._x_shape, self._y_shape = (self._batch, sizes[0]), (self._batch, sizes[-1])
        self._between = [
            self._xp.empty((1, self._batch, size), layer.dtype) for size in sizes[1:-1]
        ]
        self.state = None

    @property
    def state(self):
        return self._layer._state_of([state.copy() for state, _ in self._steppers])

    @state.setter
    def state(self, state):
        # Each layer's step keeps its own copies of what it is called with: made anew with them.
        self._steppers = new_steppers(self._layer, state, self._batch)

    def step(self, x, out=None):
        """Take one step.

        Parameters
        ----------
        x : array (B, I)
        out : array (B, H), to be written; None stands for a new one

        Returns
        -------
        y : array (B, H), the last layer's output; `out` if that was given

        Raises
        ------
        TypeError, ValueError
            If `x` or `out` have the wrong device, dtype or shape, or `out` is not C-contiguous.
        """
        layer = self._layer
        x = self._checked(x, "x", self._x_shape)
        if out is None:
            out = self._xp.empty(self._y_shape, layer.dtype)
        elif self._checked(out, "out", self._y_shape) is not out:
            raise ValueError("out: expected a C-contiguous array")
        x, last = x[None], len(self._between)
        for k, (_, step) in enumerate(self._steppers):
            target = out[None] if k == last else self._between[k]
            step(layer._weights(k, 0), layer._extras(k, 0), x, target)
            x = target
        return out

    def _checked(self, a, name, shape):
        return check_array(a, name, self._layer.device, self._layer.dtype, shape)
