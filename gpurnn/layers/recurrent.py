"""Stacks of recurrent layers in one or both directions, for any cell."""

from dataclasses import replace
from functools import cached_property

from ..arrays import check_array, check_ends, check_heads, check_size, module_of, to_device
from .layer_calls import StackCall
from .quick_calls import QuickCall, idle_call, is_quick
from .recurrences import Recurrences
from .recurrent_parameters import RecurrentParameters
from .sequences import SequenceLayer
from .stream import Stream
from .unit_noise import UnitNoise, check_share

MADE = "_recurrences", "_idle_calls"  # when first asked for


class Recurrent(SequenceLayer, RecurrentParameters):
    """What `RNN`, `LSTM` and `GRU` share; a stack of any one-output `Cell`.

    Parameters
    ----------
    cell : Cell
    input_size, hidden_size, num_layers : int
    bidirectional : bool
        Also run from each sequence's end; the outputs of both directions stand side by side.
    bias : bool
    num_heads : int
        A divisor of H. The recurrent weights are so many blocks on the diagonal, of H / num_heads
        units each: a unit sees the hidden states of its own block only, as in FlashRNN
        (K. Pöppel, M. Beck & S. Hochreiter, 2024). The inputs go to all units. Not with
        `layer_norm` or `proj_size`.
    dropout : float
        Share of the outputs of all layers but the last that `forward` sets to zero (the others
        are divided by 1 - dropout). Calling the layer drops nothing.
    zoneout : float, or one for each of the cell's states, as a pair for an LSTM's (h, c)
        Probability that `forward` lets a unit keep its old state at a step, drawn anew for every
        unit and step (Krueger et al. 2017); one number is that of h. Calling the layer takes
        the expectation.
    recurrent_dropout : float
        Share of the hidden state that `forward` hides from the recurrent product, the same
        units of a sequence at all steps (Gal & Ghahramani 2016); the others are divided by
        1 - recurrent_dropout. The cell itself, and the outputs, keep the whole state. Each call
        of `forward` draws anew: with truncated back-propagation, each chunk.
    batch_first : bool
        Sequences are (B, T, ...) instead of (T, B, ...).
    layer_norm : bool
        Normalise the products with the input and with the hidden state, each over its G H
        numbers (J. L. Ba, J. R. Kiros & G. E. Hinton, "Layer normalization", 2016):
        LN(W x_t) gain_ih + bias_ih and LN(U h_{t-1}) gain_hh + bias_hh take the place of
        W x_t + bias_ih and U h_{t-1} + bias_hh, with LN(a) = (a - mean) / sqrt(variance + 1e-5).
        Where U works in two phases (`GRU(reset_after=False)`) each of them is normalised by
        itself. An LSTM's c is not normalised on its way to the output, as it is in that paper.
    recompute : None or int
        Training keeps the gates and states of all T steps. With `recompute=n` it keeps the
        states of every n-th step only and, on the way back, runs each n steps forward once
        more: about a third more time, for memory that grows with T only by what goes in and
        out (best at about the square root of T steps; T. Chen et al., 2016).
    dtype : "float32", "float64"; on CUDA also "float16", "bfloat16"
    device : "cpu" or "cuda"
    rng : None, int or numpy.random.Generator

    The parameters have PyTorch's names and shapes: of layer k `weight_ih_lk` (G H, I),
    `weight_hh_lk` (G H, H / num_heads), `bias_ih_lk` and `bias_hh_lk` (G H,), with `layer_norm`
    also `gain_ih_lk` and `gain_hh_lk` (G H,), then those of the cell's own weights (H,), with the
    suffix `_reverse` for the reverse direction; at first the gains are 1, the others uniform
    within ± 1 / sqrt(H).

    With float16 and bfloat16 all that goes in and out is of that dtype (bfloat16 is
    `ml_dtypes.bfloat16`, which CuPy from 14 on has), and so are the inputs' part of the gates and
    the gates' gradients in between; products sum in float32, cells compute in it, and states are
    kept in it from step to step (the persistent schedule rounds a copy of the hidden ones for the
    product). float16 gradients below 6e-8 are 0: scale the loss.

    Raises ValueError if an option is out of range, or the cell has masks of its own: a layer
    makes none but those of `zoneout` and `recurrent_dropout`.
    """

    takes_halves = True
    proj_size = 0
    """Numbers of a hidden state that is projected before it goes anywhere; see `LSTM`."""

    def __init__(
        self, cell, input_size, hidden_size, num_layers=1, *, bidirectional=False, bias=True,
        num_heads=1, dropout=0.0, zoneout=0.0, recurrent_dropout=0.0, layer_norm=False,
        batch_first=False, recompute=None, dtype="float32", device="cpu", rng=None,
    ):  # fmt: skip
        super().__init__(dtype, device, rng)
        if cell.masks:
            raise ValueError(f"cell: expected one without masks of its own, got {cell.name!r}")
        if layer_norm:
            cell = replace(cell, name=f"{cell.name}_layer_norm", normalised=True)
        self._noise = UnitNoise(cell, zoneout, recurrent_dropout)
        self.cell = self._noise.cell
        self.zoneout = self._noise.zoneout
        self.recurrent_dropout = self._noise.recurrent_dropout
        self.input_size = check_size(input_size, "input_size")
        self.hidden_size = check_size(hidden_size, "hidden_size")
        self.num_layers = check_size(num_layers, "num_layers")
        self.num_heads = self._checked_heads(num_heads)
        self.bidirectional, self.bias = bool(bidirectional), bool(bias)
        self.recompute = None if recompute is None else check_size(recompute, "recompute")
        self.dropout, self.batch_first = check_share(dropout, "dropout"), bool(batch_first)
        self.directions = 2 if self.bidirectional else 1
        self._each_state = tuple(slice(i, i + 1) for i in range(self.cell.states))
        self._add_parameters()

    def _checked_heads(self, number):
        number = check_heads(number, self.hidden_size)
        for name, present in (("layer_norm", self.cell.normalised), ("proj_size", self.proj_size)):
            if present and number > 1:
                raise ValueError(f"num_heads: expected 1 with {name}, got {number}")
        return number

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
        call = None
        if lengths is None and not self.batch_first:
            call = idle_call(self, x)
        if call is None:
            x, lengths = self._check_input(x, lengths)
            if lengths is not None or not is_quick(self, x.shape):
                return self._run(x, lengths, state, keep=False)[:2]
            call = idle_call(self, x) or QuickCall(self, x.shape)
        y, finals = call.run(self, x, state)
        return self._outward(y), self._state_of(finals)

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
        return self._run(*self._check_input(x, lengths), state, keep=True)

    def stream(self, batch_size=1):
        """A handle that takes one step at a time and keeps the state: see `Stream`.

        Raises ValueError if the layer is bidirectional, or `batch_size` no positive integer.
        """
        return Stream(self, batch_size)

    def frozen(self):
        """A copy for inference on the CPU that packs its weights once, not at every call.

        See `FrozenRecurrent`. Raises ValueError unless the layer is on the CPU.
        """
        from .inference_copy import FrozenRecurrent

        return FrozenRecurrent(self)

    def reduced(self, kind="bfloat16"):
        """A copy for inference on the CPU with weights in "bfloat16" or "int8".

        See `ReducedRecurrent` for what is gained and lost. Raises ValueError for another kind,
        and unless the layer is a float32 one on the CPU.
        """
        from .reduced import ReducedRecurrent

        return ReducedRecurrent(self, kind)

    def _recurrence(self, layer, dropped=False):
        return self._recurrences[self.device, self._inputs(layer), dropped]

    @cached_property
    def _recurrences(self):
        sizes = self.hidden_size, self.proj_size, self.num_heads
        return Recurrences(self._noise, *sizes, self.dtype, self.recompute)

    @cached_property
    def _idle_calls(self):
        """The `QuickCall`s to be used again: as many as were under way at once."""
        return []

    def __getstate__(self):
        """Of a layer that is copied or pickled: time loops and their memory are made anew."""
        return {name: value for name, value in vars(self).items() if name not in (*MADE, "cell")}

    def __setstate__(self, state):
        vars(self).update(state)
        self.cell = self._noise.cell

    def to(self, device):
        """As `Layer.to`; memory of the old device's time loops is given up."""
        if device != self.device:
            for name in MADE:
                vars(self).pop(name, None)
        return super().to(device)

    def _extras(self, layer, direction):
        """What the cell takes besides in inference."""
        if not self.cell.extras:
            return ()
        masks = self._noise.expectations(self.device, self.hidden_size, self.dtype)
        return self._own_weights(layer, direction) + masks

    def _training_extras(self, layer, direction, steps, batch):
        """What the cell takes besides in training, masks drawn anew."""
        if not self._noise.training_cell.extras:
            return ()
        shape = (steps, batch, self.hidden_size)
        masks = self._noise.masks(self.kernels, self.rng, shape, self.dtype)
        return self._own_weights(layer, direction) + masks

    def _check_input(self, x, lengths):
        """x (T, B, I), and the lengths on the device, or None where all are T."""
        x = self._check_sequences(x, "x", self.input_size)
        if lengths is not None:
            lengths = check_ends(lengths, *x.shape[:2], self.device)
        return x, lengths if lengths is None else to_device(lengths, self.device)

    @property
    def stacks_at_once(self):
        """Whether a device may run several layers at once: see `gpurnn.cuda.schedule`."""
        return not self.bidirectional and self.num_heads == 1 and not self.proj_size

    def _run(self, x, lengths, state, keep):
        steps, batch = x.shape[:2]
        states = self._states_given(state, "state", batch)
        parts = StackCall(self, steps, batch, lengths, states, keep).parts()
        y, finals = x, ()
        for part in parts:
            y, own = part.forward(y)
            finals += own
        final = self._state_of(finals)
        if not keep:
            return self._outward(y), final, None

        def backward(dy, dstate=None):
            dy = self._check_sequences(dy, "dy", self.output_size, (steps, batch))
            dstates, dinitials = self._states_given(dstate, "dstate", batch), ()
            for part in reversed(parts):
                dy, own = part.backward(dy, dstates)
                dinitials = own + dinitials
            return self._outward(dy), self._state_of(dinitials)

        return self._outward(y), final, backward

    def _state_of(self, states):
        """From L D arrays (S, B, H) to what the caller expects."""
        if len(states) == 1:
            (own,) = states
            if len(own) == 1 and not self.proj_size:
                return own
            parts = [own[part] for part in self._each_state]
        else:
            parts = list(module_of(self.device).stack(states, axis=1))
        if self.proj_size:
            parts[0] = parts[0][:, :, : self.proj_size].copy()
        return parts[0] if self.cell.states == 1 else tuple(parts)

    def _states_given(self, state, name, batch):
        """A state's parts (S, B, H), one a layer and direction; None stands for zeros."""
        count = self.num_layers * self.directions
        if state is None:
            return (None,) * count
        states = self._check_state(state, name, batch)
        return [states[:, i] for i in range(count)]

    def _check_state(self, state, name, batch):
        """A state as one array (S, L D, B, H); a projection takes the first of H numbers."""
        xp, count = module_of(self.device), self.cell.states
        rows = self.num_layers * self.directions
        shape = (rows, batch, self.hidden_size)
        if state is None:
            return xp.zeros((count, *shape), self.dtype)
        if count == 1:
            return check_array(state, name, self.device, self.dtype, shape)[None]
        if not isinstance(state, (tuple, list)) or len(state) != count:
            got = type(state).__name__
            if isinstance(state, (tuple, list)):
                got += f" of {len(state)}"
            raise TypeError(f"{name}: expected a tuple of {count} arrays, got {got}")
        parts = (xp.zeros if self.proj_size else xp.empty)((count, *shape), self.dtype)
        for i, part in enumerate(state):
            width = self.hidden_size if i else self._outputs
            wanted = (rows, batch, width)
            parts[i, :, :, :width] = check_array(
                part, f"{name}[{i}]", self.device, self.dtype, wanted
            )
        return parts
