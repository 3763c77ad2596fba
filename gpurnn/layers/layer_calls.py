"""What a call of a stack of layers consists of: of calls of one layer, or of several at once."""


class StackCall:
    """One call of a `Recurrent`: what its layers share. In training (`keep`) it draws the noise.

    `state` are its parts (S, B, H), one a layer and direction; `lengths` (B,) or None.
    """

    def __init__(self, stack, steps, batch, lengths, state, keep):
        self.stack, self.steps, self.batch, self.keep = stack, steps, batch, keep
        self.kernels, self.lengths, self.state = stack.kernels, lengths, state
        self._allocate = self.kernels.empty if lengths is None else self.kernels.zeros
        self.dropped = keep and stack.recurrent_dropout > 0
        # Recomputing and dropping read each direction's results at once.
        self.at_once = not (stack.recompute or self.dropped)
        self.apart = stack.bidirectional and self.kernels.directions_apart(batch)
        self.weights, self.extras, self.seeds = [], [], []
        for layer in range(stack.num_layers):
            if layer and keep and stack.dropout:
                self.seeds.append(int(stack.rng.integers(2**63)))
            for direction in range(stack.directions):
                self.weights.append(stack._weights(layer, direction))
                self.extras.append(
                    stack._training_extras(layer, direction, steps, batch)
                    if keep
                    else stack._extras(layer, direction)
                )

    def parts(self):
        """The calls that this one consists of, from the lowest layer on."""
        stack = self.stack
        launches = [None] * stack.num_layers
        if stack.num_layers > 1 and self.at_once and stack.stacks_at_once:
            sizes = stack.hidden_size, self.batch, self.steps, stack.dtype
            launches = self.kernels.layers_together(stack.cell, *sizes, self.keep, stack.num_layers)
        found, layer = [], 0
        for together in launches:
            found.append(LayersCall(self, layer, together) if together else LayerCall(self, layer))
            layer += together.layers if together else 1
        return found

    def room(self, numbers):
        """An array (T, B, numbers), zero past the sequences' ends."""
        return self._allocate((self.steps, self.batch, numbers), self.stack.dtype)

    def drop(self, x, layer):
        """The input of a layer, or the gradient by it, with dropout where there is any."""
        if not layer or not self.seeds:
            return x
        return self.kernels.dropout(x, self.stack.dropout, self.seeds[layer - 1])


class LayerCall:
    """The call of one layer, in both directions where it has them."""

    def __init__(self, call, layer):
        self._call, self._layer, self._tapes = call, layer, ()
        directions = call.stack.directions
        self._directions, self._first = range(directions), layer * directions
        self._recurrence = call.stack._recurrence(layer, call.dropped)
        self._each = map
        if call.apart:
            self._each = call.kernels.run_side_by_side
        elif call.at_once:
            self._each = call.kernels.run_together

    def forward(self, x):
        """x (T, B, I) -> y (T, B, N), the final states (S, B, H) of the directions."""
        call, outputs = self._call, self._call.stack._outputs
        x = call.drop(x, self._layer)
        y = call.room(call.stack.output_size)

        def run(direction):
            i = self._first + direction
            return self._recurrence.forward(
                call.weights[i], call.extras[i], x, call.state[i], call.lengths, bool(direction), y,
                direction * outputs, call.keep,
            )  # fmt: skip

        finals, self._tapes = zip(*self._each(run, self._directions))
        return y, finals

    def backward(self, dy, dstate):
        """dy (T, B, N), dstate of all layers -> dx (T, B, I), the directions' initial dstates."""
        call, layer, outputs = self._call, self._layer, self._call.stack._outputs
        dx = [call.room(call.stack._inputs(layer)) for _ in range(2 if call.apart else 1)]

        def run(direction):
            i = self._first + direction
            return self._recurrence.backward(
                call.weights[i], self._tapes[direction], dy, direction * outputs, dstate[i],
                call.stack._gradients(layer, direction), dx[direction * call.apart],
                bool(direction) and not call.apart,
            )  # fmt: skip

        dinitials = tuple(self._each(run, self._directions))
        return call.drop(dx[0] + dx[1] if call.apart else dx[0], layer), dinitials


class LayersCall:
    """The call of several layers at once, by a device's `StackedRecurrence`."""

    def __init__(self, call, first, together):
        self._call, self._first, self._together, self._tape = call, first, together, None
        self._layers = slice(first, first + together.layers)

    def forward(self, x):
        """As `LayerCall.forward`, of the layers."""
        call, layers = self._call, self._layers
        y = call.room(call.stack.output_size)
        seeds = call.seeds[self._first : layers.stop - 1]
        finals, self._tape = self._together.forward(
            call.weights[layers], call.extras[layers], call.drop(x, self._first),
            call.state[layers], call.lengths, y, call.keep, call.stack.dropout, seeds,
        )  # fmt: skip
        return y, finals

    def backward(self, dy, dstate):
        """As `LayerCall.backward`, of the layers."""
        call, layers, stack = self._call, self._layers, self._call.stack
        dx = call.room(stack._inputs(self._first))
        grads = [stack._gradients(layer, 0) for layer in range(layers.start, layers.stop)]
        dinitials = self._together.backward(
            call.weights[layers], self._tape, dy, dstate[layers], grads, dx
        )
        return call.drop(dx, self._first), tuple(dinitials)
