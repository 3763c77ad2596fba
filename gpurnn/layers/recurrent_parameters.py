"""The parameters of stacks of recurrent layers: which there are, their names and shapes."""

import math

import numpy as np

from .layer import Layer
from .selection import Selection


class RecurrentParameters(Layer):
    """What `Recurrent` keeps its parameters by; it has set its cell and all sizes before."""

    def _add_parameters(self):
        # Numbers of a step's output of one direction, and of the hidden state; of both directions.
        self._outputs = self.proj_size or self.hidden_size
        self.output_size = self._outputs * self.directions
        bound = 1 / math.sqrt(self.hidden_size)
        kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        kinds += ("gain_ih", "gain_hh") if self.cell.normalised else ()
        kinds += ("weight_hr",) if self.proj_size else ()
        shared = len(kinds)  # kinds of parameters that other cells have too
        kinds += self.cell.weights
        self._selections = []  # of each layer and direction: the weights, the cell's own
        for layer in range(self.num_layers):
            shapes = self._shapes(layer)
            for suffix in ("", "_reverse")[: self.directions]:
                for kind, shape in shapes.items():
                    gain = kind in ("gain_ih", "gain_hh")
                    value = np.ones(shape) if gain else self._uniform(shape, bound)
                    self._add_parameter(f"{kind}_l{layer}{suffix}", value)
                names = tuple(
                    f"{kind}_l{layer}{suffix}" if kind in shapes else None for kind in kinds
                )
                self._selections.append((Selection(names[:shared]), Selection(names[shared:])))

    def _shapes(self, layer):
        """The parameters' shapes of one direction of a layer, by kind."""
        rows = self.cell.gates * self.hidden_size
        shapes = {
            "weight_ih": (rows, self._inputs(layer)),
            "weight_hh": (rows, self._outputs // self.num_heads),
        }
        if self.bias:
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        if self.cell.normalised:
            shapes |= {"gain_ih": (rows,), "gain_hh": (rows,)}
        if self.proj_size:
            shapes["weight_hr"] = (self.proj_size, self.hidden_size)
        return shapes | {kind: (self.hidden_size,) for kind in self.cell.weights}

    def _inputs(self, layer):
        return self.input_size if layer == 0 else self.output_size

    def _weights(self, layer, direction):
        """(w_ih, w_hh, b_ih or None, b_hh or None), then the gains or a projection's w_hr."""
        return self._selections[layer * self.directions + direction][0].of(self)

    def _own_weights(self, layer, direction):
        """Those of the cell's own, a tuple of arrays (H,)."""
        return self._selections[layer * self.directions + direction][1].of(self)

    def _gradients(self, layer, direction):
        """Those of `_weights`' first four, of `_own_weights`, then of a projection's w_hr."""
        weights, own = self._selections[layer * self.directions + direction]
        return tuple([name and self.grads[name] for name in weights.names + own.names])
