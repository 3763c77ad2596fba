"""Stacks of recurrent layers in one or both directions, for any cell."""

import math
from functools import cached_property

from ..arrays import check_array, check_ends, check_size, kernels_of, module_of
from .layer import Layer
from .recompute import RecomputedRecurrence
from .sequences import SequenceLayer
from .stream import Stream


class Recurrent(SequenceLayer, Layer):
    """What `RNN`, `LSTM` and `GRU` share; a stack of any one-output `Cell`.

    Parameters
    ----------
    cell : Cell
    input_size, hidden_size, num_layers : int
    bidirectional : bool
        Also run from each sequence's end; the outputs of both directions stand side by side.
    bias : bool
    dropout : float
        Share of the outputs of all layers but the last that `forward` sets to zero (the others
        are divided by 1 - dropout). Calling the layer drops nothing.
    batch_first : bool
        Sequences are (B, T, ...) instead of (T, B, ...).
    recompute : None or int
        Training keeps the gates and states of all T steps. With `recompute=n` it keeps the
        states of every n-th step only and, on the way back, runs each n steps forward once
        more: about a third more time, for memory that grows with T only by what goes in and
        out (best at about the square root of T steps; T. Chen et al., 2016).
    dtype : "float32" or "float64"
    device : "cpu" or "cuda"
    rng : None, int or numpy.random.Generator

    The parameters have PyTorch's names and shapes: of layer k `weight_ih_lk` (G H, I),
    `weight_hh_lk` (G H, H), `bias_ih_lk` and `bias_hh_lk` (G H,), with the suffix `_reverse`
    for the reverse direction; at first uniform within ± 1 / sqrt(H).
    """

    def __init__(
        self, cell, input_size, hidden_size, num_layers=1, *, bidirectional=False, bias=True,
        dropout=0.0, batch_first=False, recompute=None, dtype="float32", device="cpu", rng=None,
    ):  # fmt: skip
        super().__init__(dtype, device, rng)
        self.cell = cell
        self.input_size = check_size(input_size, "input_size")
        self.hidden_size = check_size(hidden_size, "hidden_size")
        self.num_layers = check_size(num_layers, "num_layers")
        if not isinstance(dropout, (int, float)) or not 0 <= dropout < 1:
            raise ValueError(f"dropout: expected a number from 0 to below 1, got {dropout!r}")
        self.bidirectional, self.bias = bool(bidirectional), bool(bias)
        self.recompute = None if recompute is None else check_size(recompute, "recompute")
        self.dropout, self.batch_first = float(dropout), bool(batch_first)
        self.directions = 2 if self.bidirectional else 1
        rows, bound = cell.gates * self.hidden_size, 1 / math.sqrt(self.hidden_size)
        self._names = []
        for layer in range(self.num_layers):
            for suffix in ("", "_reverse")[: self.directions]:
                shapes = {
                    "weight_ih": (rows, self._inputs(layer)),
                    "weight_hh": (rows, self.hidden_size),
                }
                if self.bias:
                    shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
                names = [f"{kind}_l{layer}{suffix}" for kind in shapes]
                for name, shape in zip(names, shapes.values()):
                    self._add_parameter(name, self._uniform(shape, bound))
                self._names.append(names if self.bias else [*names, None, None])

    def __call__(self, x, state=None, lengths=None):
        """Run the sequences; keep nothing, drop nothing.

        Parameters
        ----------
        x : array (T, B, I), or (B, T, I) if `batch_first`
        state : array (L D, B, H), or for an LSTM a pair (h, c) of such; None stands for zeros
        lengths : integers (B,), from 1 to T, in any order; None stands for T everywhere

        Returns
        -------
        y : array (T, B, D H), or (B, T, D H); zero past the sequences' ends
        state : as `state`, after each sequence's last step

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong device, dtype or shape, T or B is 0, or a length is
            out of range.
        """
        y, state, _ = self._run(x, state, lengths, keep=False)
        return y, state

    def forward(self, x, state=None, lengths=None):
        """As calling the layer, but for training: with dropout, and with the way back.

        Returns
        -------
        y, state : as from a call
        backward : callable
            ``backward(dy, dstate=None) -> dx, dstate``: from the gradients by `y` and the
            final state those by `x` and the initial state; adds those by the parameters into
            `grads`. To be called before the parameters change.
        """
        return self._run(x, state, lengths, keep=True)

    def stream(self, batch_size=1):
        """A handle that takes one step at a time and keeps the state: see `Stream`.

        Raises ValueError if the layer is bidirectional, or `batch_size` no positive integer.
        """
        return Stream(self, batch_size)

    def reduced(self, kind="bfloat16"):
        """A copy for inference on the CPU with weights in "bfloat16" or "int8".

        See `ReducedRecurrent` for what is gained and lost. Raises ValueError for another kind,
        and unless the layer is a float32 one on the CPU.
        """
        from .reduced import ReducedRecurrent

        return ReducedRecurrent(self, kind)

    @property
    def output_size(self):
        """Numbers of a step's output, of both directions: D H."""
        return self.hidden_size * self.directions

    def _inputs(self, layer):
        return self.input_size if layer == 0 else self.output_size

    def _recurrence(self, layer):
        return self._recurrences[self.device, self._inputs(layer)]

    @cached_property
    def _recurrences(self):
        return _Recurrences(self.cell, self.hidden_size, self.dtype, self.recompute)

    def _weights(self, layer, direction):
        """(w_ih, w_hh, b_ih or None, b_hh or None) of the parameters."""
        names = self._names[layer * self.directions + direction]
        return tuple([name and self._parameter(name) for name in names])

    def _gradients(self, layer, direction):
        """As `_weights`, of the gradients."""
        names = self._names[layer * self.directions + direction]
        return tuple(name and self.grads[name] for name in names)

    def _run(self, x, state, lengths, keep):
        x = self._check_sequences(x, "x", self.input_size)
        steps, batch = x.shape[:2]
        states = self._check_state(state, "state", batch)
        lengths = check_ends(lengths, steps, batch)
        if steps == 1 and not keep and not self.bidirectional:
            return self._run_step(x, states)
        xp, kernels, hidden = module_of(self.device), self.kernels, self.hidden_size
        allocate = xp.empty if lengths is None else xp.zeros
        layers, directions = range(self.num_layers), range(self.directions)
        apart = self.bidirectional and kernels.directions_apart(batch)
        each = kernels.run_side_by_side if apart else map
        weights = [self._weights(layer, d) for layer in layers for d in directions]
        finals, tapes, seeds = [], [], []
        for layer in layers:
            if layer and keep and self.dropout:
                seeds.append(int(self.rng.integers(2**63)))
                x = kernels.dropout(x, self.dropout, seeds[-1])
            y = allocate((steps, batch, hidden * self.directions), self.dtype)

            def run(direction, layer=layer, x=x, y=y):
                index = layer * self.directions + direction
                return self._recurrence(layer).forward(
                    weights[index], x, states[:, index], lengths, bool(direction), y,
                    direction * hidden, keep,
                )  # fmt: skip

            for final, tape in each(run, directions):
                finals.append(final)
                tapes.append(tape)
            x = y
        final = self._state_of(finals)
        if not keep:
            return self._outward(y), final, None

        def backward(dy, dstate=None):
            dy = self._check_sequences(dy, "dy", hidden * self.directions, (steps, batch))
            dstates = self._check_state(dstate, "dstate", batch)
            dinitial = [None] * len(weights)
            for layer in reversed(layers):
                shape = (steps, batch, self._inputs(layer))
                dx = [allocate(shape, self.dtype) for _ in range(2 if apart else 1)]

                def run(direction, layer=layer, dy=dy, dx=dx):
                    index = layer * self.directions + direction
                    return self._recurrence(layer).backward(
                        weights[index], tapes[index], dy, direction * hidden, dstates[:, index],
                        self._gradients(layer, direction), dx[direction * apart],
                        bool(direction) and not apart,
                    )  # fmt: skip

                first = layer * self.directions
                dinitial[first : first + self.directions] = each(run, directions)
                dy = dx[0] + dx[1] if apart else dx[0]
                if layer and self.dropout:
                    dy = kernels.dropout(dy, self.dropout, seeds[layer - 1])
            return self._outward(dy), self._state_of(dinitial)

        return self._outward(y), final, backward

    def _run_step(self, x, states):
        """What `_run` does, of one step that nobody will go back through: with less ado."""
        xp, shape, finals = module_of(self.device), (1, x.shape[1], self.hidden_size), []
        for layer in range(self.num_layers):
            y, state = xp.empty(shape, self.dtype), xp.array(states[:, layer], order="C")
            self._recurrence(layer).stepper(state)(self._weights(layer, 0), x, y)
            finals.append(state)
            x = y
        return self._outward(y), self._state_of(finals), None

    def _state_of(self, states):
        """From L D arrays (S, B, H) to what the caller expects."""
        xp = module_of(self.device)
        stacked = states[0][:, None] if len(states) == 1 else xp.stack(states, axis=1)
        return stacked[0] if self.cell.states == 1 else tuple(stacked)

    def _check_state(self, state, name, batch):
        """A state as one array (S, L D, B, H)."""
        xp, count = module_of(self.device), self.cell.states
        shape = (self.num_layers * self.directions, batch, self.hidden_size)
        if state is None:
            return xp.zeros((count, *shape), self.dtype)
        if count == 1:
            return check_array(state, name, self.device, self.dtype, shape)[None]
        if not isinstance(state, (tuple, list)) or len(state) != count:
            got = type(state).__name__
            if isinstance(state, (tuple, list)):
                got += f" of {len(state)}"
            raise TypeError(f"{name}: expected a tuple of {count} arrays, got {got}")
        return xp.stack(
            [
                check_array(part, f"{name}[{i}]", self.device, self.dtype, shape)
                for i, part in enumerate(state)
            ]
        )


class _Recurrences(dict):
    """The time loops of a stack, by device and input size, made when first asked for."""

    def __init__(self, cell, hidden_size, dtype, recompute):
        super().__init__()
        self._cell, self._hidden_size, self._dtype = cell, hidden_size, dtype
        self._recompute = recompute

    def __missing__(self, key):
        device, inputs = key
        made = kernels_of(device).Recurrence(self._cell, inputs, self._hidden_size, self._dtype)
        if self._recompute:
            made = RecomputedRecurrence(made, self._recompute)
        return self.setdefault(key, made)
