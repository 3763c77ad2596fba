"""Deep stacks of recurrent layers of any cells, sizes and directions."""

from collections.abc import Iterable

from ..arrays import check_ends
from .activation import zero_past_ends
from .assembly import Assembly
from .recurrent import Recurrent
from .sequences import SequenceLayer


class Stack(SequenceLayer, Assembly):
    """Recurrent layers on top of each other, each of its own cell, size and directions.

        stack = gpurnn.Stack(
            [gpurnn.LSTM(28, 64), gpurnn.GRU(64, 32, bidirectional=True), gpurnn.LSTM(64, 64)],
            residual=True,
        )

    Parameters
    ----------
    layers : sequence of Recurrent
        From the bottom, time-major; each takes as many numbers as the one below gives. Several
        layers of one cell and size may be one `Recurrent` with `num_layers`.
    residual : bool, or sequence of int
        Which layers add their input to their output (Y. Wu et al., "Google's neural machine
        translation system", 2016, equation 6; K. He et al., 2015): with True those whose input
        and output are of one size, or those of the numbers given. `range(2, len(layers))` over a
        bidirectional layer 0 is the encoder of that paper.
    dropout : float
        Share of the inputs of all layers but the first that `forward` sets to zero (the others
        are divided by 1 - dropout). What a residual connection adds is not dropped.
    batch_first : bool
        Sequences are (B, T, ...) instead of (T, B, ...).
    rng : None, int or numpy.random.Generator
        Source of dropout's seeds.

    `params` and `grads` are the layers' own, named "0.weight_ih_l0", "1.weight_ih_l0" and so on,
    as in PyTorch's `ModuleList`. The state is a tuple of the layers' states.

    Raises
    ------
    TypeError
        If a layer is no recurrent layer.
    ValueError
        If layers differ in dtype or device, do not fit on each other, stand twice in the stack
        or are `batch_first`, or a layer with a residual connection changes the size.
    """

    def __init__(self, layers, *, residual=False, dropout=0.0, batch_first=False, rng=None):
        layers = _checked_layers(layers)
        super().__init__(layers[0].dtype, layers[0].device, rng, dropout)
        self.batch_first = bool(batch_first)
        self.residual = _residual_layers(residual, layers)
        self.input_size, self.output_size = layers[0].input_size, layers[-1].output_size
        self._assemble({str(i): layer for i, layer in enumerate(layers)})

    @property
    def layers(self):
        """The layers from the bottom, a tuple."""
        return tuple(self._parts.values())

    def __call__(self, x, state=None, lengths=None):
        """Run the sequences; keep nothing, drop nothing.

        Parameters
        ----------
        x : array (T, B, I), or (B, T, I) if `batch_first`
        state : tuple of the layers' states, each as that layer takes it; None stands for zeros
        lengths : integers (B,), from 1 to T, in any order; None stands for T everywhere

        Returns
        -------
        y : array (T, B, N), or (B, T, N), of the last layer's `output_size` N; zero past the
            sequences' ends
        state : as `state`, after each sequence's last step

        Raises TypeError or ValueError as `Recurrent` does.
        """
        x, states, lengths = self._check(x, state, lengths)
        finals = []
        for i, layer in enumerate(self.layers):
            y, final = layer(x, states[i], lengths)
            x = self._with_input(i, y, x, lengths)
            finals.append(final)
        return self._outward(x), tuple(finals)

    def forward(self, x, state=None, lengths=None):
        """As calling the stack, but for training: with dropout, and with the way back.

        Returns
        -------
        y, state : as from a call
        backward : callable
            ``backward(dy, dstate=None) -> dx, dstate``: from the gradients by `y` and the
            final state those by `x` and the initial state; adds those by the parameters into
            `grads`. To be called before the parameters change.
        """
        x, states, lengths = self._check(x, state, lengths)
        steps_and_batch = x.shape[:2]
        finals, ways_back = [], []
        for i, layer in enumerate(self.layers):
            dropped, drop = self._drop(x) if i else (x, _unchanged)
            y, final, layer_backward = layer.forward(dropped, states[i], lengths)
            x = self._with_input(i, y, x, lengths)
            finals.append(final)
            ways_back.append((layer_backward, drop))

        def backward(dy, dstate=None):
            dy = self._check_sequences(dy, "dy", self.output_size, steps_and_batch)
            if self.residual and lengths is not None:
                dy = zero_past_ends(dy.copy(), lengths, batch_first=False)
            dfinals, dinitials = self._check_state(dstate, "dstate"), []
            for i, (layer_backward, drop) in reversed(list(enumerate(ways_back))):
                dx, dinitial = layer_backward(dy, dfinals[i])
                dx = drop(dx)
                dy = dx + dy if i in self.residual else dx
                dinitials.insert(0, dinitial)
            return self._outward(dy), tuple(dinitials)

        return self._outward(x), tuple(finals), backward

    def stream(self, batch_size=1):
        """A handle that takes one step at a time and keeps the states: see `StackStream`.

        Raises ValueError if a layer is bidirectional, or `batch_size` no positive integer.
        """
        return StackStream(self, batch_size)

    def _check(self, x, state, lengths):
        x = self._check_sequences(x, "x", self.input_size)
        return x, self._check_state(state, "state"), check_ends(lengths, *x.shape[:2])

    def _check_state(self, state, name):
        """A state for each layer, or None; the layers check what is in it."""
        count = len(self._parts)
        if state is None:
            return (None,) * count
        if not isinstance(state, (tuple, list)) or len(state) != count:
            got = type(state).__name__
            got += f" of {len(state)}" if isinstance(state, (tuple, list)) else ""
            raise TypeError(f"{name}: expected a tuple of {count} layers' states, got {got}")
        return tuple(state)

    def _with_input(self, i, y, x, lengths):
        """Layer i's output `y`, a new array, plus its input where that is to be added."""
        if i in self.residual:
            y += x
            if i == 0:  # other layers' inputs are zero there already
                zero_past_ends(y, lengths, batch_first=False)
        return y


class StackStream:
    """A stack that is fed step by step and keeps its states in between; from `stack.stream()`.

    Attributes
    ----------
    state : tuple of the layers' states, each as its layer gives it
        The states after the last step, copies. Assigning to it, or None for zeros, sets them.
    """

    def __init__(self, stack, batch_size):
        self._stack = stack
        self._streams = [layer.stream(batch_size) for layer in stack.layers]

    @property
    def state(self):
        return tuple(stream.state for stream in self._streams)

    @state.setter
    def state(self, state):
        for stream, part in zip(self._streams, self._stack._check_state(state, "state")):
            stream.state = part

    def step(self, x, out=None):
        """Take one step: x (B, I), out (B, N) or None, to be written -> y (B, N), `out` if given.

        Raises TypeError or ValueError if `x` or `out` have the wrong device, dtype or shape, or
        `out` is not C-contiguous.
        """
        *below, last = enumerate(self._streams)
        for i, stream in below:
            x = self._stack._with_input(i, stream.step(x), x, None)
        return self._stack._with_input(last[0], last[1].step(x, out), x, None)


def _unchanged(gradient):
    return gradient


def _checked_layers(layers):
    layers = tuple(layers)
    if not layers:
        raise ValueError("layers: expected at least one, got none")
    for i, layer in enumerate(layers):
        name = f"layers[{i}]"
        if not isinstance(layer, Recurrent):
            raise TypeError(f"{name}: expected a recurrent layer, got {type(layer).__name__}")
        if layer in layers[:i]:
            raise ValueError(f"{name}: expected each layer once, got layers[{layers.index(layer)}]")
        if layer.batch_first:
            raise ValueError(f"{name}: expected a time-major layer; give batch_first to the stack")
        kind, wanted = ((a.dtype.name, a.device) for a in (layer, layers[0]))
        if kind != wanted:
            raise ValueError(f"{name}: expected {wanted} as layers[0] is, got {kind}")
        if i and layer.input_size != layers[i - 1].output_size:
            raise ValueError(
                f"{name}: expected input_size {layers[i - 1].output_size}, which layers[{i - 1}] "
                f"gives, got {layer.input_size}"
            )
    return layers


def _residual_layers(residual, layers):
    """The numbers of the layers that add their input to their output."""
    keep_size = [i for i, layer in enumerate(layers) if layer.input_size == layer.output_size]
    if isinstance(residual, bool):
        return frozenset(keep_size if residual else ())
    if not isinstance(residual, Iterable):
        raise TypeError(f"residual: expected a bool or layers' numbers, got {residual!r}")
    wanted = frozenset(residual)
    for i in wanted.difference(keep_size):
        if i not in range(len(layers)):
            raise ValueError(f"residual: expected numbers below {len(layers)}, got {i!r}")
        raise ValueError(
            f"residual: expected layers[{i}] to keep the size, got {layers[i].input_size} -> "
            f"{layers[i].output_size}"
        )
    return wanted
