"""The decoder of an encoder-decoder: recurrent layers that attend to the encoder's states."""

from gpurnn.arrays import module_of
from gpurnn.kernels.activations import MAPS
from gpurnn.layers import Attention, Linear
from gpurnn.layers.assembly import Assembly


class AttentiveDecoder(Assembly):
    """From hidden states h the attentional states a = tanh(W [c; h] + b), c the context of h.

    Luong et al. (2015), eq. 5. With `input_feeding` (their section 3.3) each step is also fed the
    attentional state of the step before, the first one zeros: what was attended to is known.
    Training must then go step by step; without, each layer takes all steps at once.

    layer: the class of the recurrent layers, `LSTM` or `GRU`; kind: of the `Attention`.
    """

    def __init__(
        self, layer, input_size, hidden_size, kind, num_layers, input_feeding, dropout, dtype,
        device, rng,
    ):  # fmt: skip
        super().__init__(dtype, device, rng, dropout)
        common = {"dtype": dtype, "device": device, "rng": self.rng}
        self.input_feeding = bool(input_feeding)
        width = input_size + hidden_size if input_feeding else input_size
        self._assemble(
            {
                "recurrent": layer(width, hidden_size, num_layers, dropout=dropout, **common),
                "attention": Attention(hidden_size, hidden_size, kind=kind, **common),
                "combination": Linear(2 * hidden_size, hidden_size, **common),
            }
        )

    def forward(self, embedded, state, keys, lengths, steps):
        """All steps of sequences.

        embedded (T, B, E); state: of the recurrent layers; keys (Tk, B, H), of `lengths` (B,);
        steps (B,): how many each sequence has; what comes past them is arbitrary, and must have
        no gradient. Returns the attentional states (T, B, H) and ``backward(d)``, which returns
        the gradients by embedded, state and keys.
        """
        memory = self.remember(keys, lengths)
        if not self.input_feeding:
            hidden, _, back_recurrent = self._parts["recurrent"].forward(embedded, state, steps)
            attended, back_attended = self._attend(hidden, memory)

            def backward(d):
                dhidden, dkeys = back_attended(d)
                return *back_recurrent(dhidden), dkeys

            return attended, backward

        xp = module_of(self.device)
        fed, tape, attended = None, [], []
        for step in embedded:
            hidden, state, back_recurrent = self._parts["recurrent"].forward(
                self._feed(step[None], fed), state
            )
            fed, back_attended = self._attend(hidden, memory)
            attended.append(fed)
            tape.append((back_recurrent, back_attended))

        def backward_by_steps(d):
            dembedded, dstate, dkeys = xp.empty_like(embedded), None, xp.zeros_like(keys)
            dfed = xp.zeros_like(d[:1])
            for t in range(len(d) - 1, -1, -1):
                back_recurrent, back_attended = tape[t]
                dhidden, dkeys_of_step = back_attended(d[t : t + 1] + dfed)
                dkeys += dkeys_of_step
                dx, dstate = back_recurrent(dhidden, dstate)
                dembedded[t], dfed = dx[0, :, : embedded.shape[2]], dx[:, :, embedded.shape[2] :]
            return dembedded, dstate, dkeys

        return xp.concatenate(attended), backward_by_steps

    def remember(self, keys, lengths):
        """What `step` attends to: see `Attention.remember`."""
        return self._parts["attention"].remember(keys, lengths)

    def start(self, state):
        """What `step` carries along, from the first state: a tuple of arrays (..., N, H)."""
        carried = state if isinstance(state, tuple) else (state,)
        if self.input_feeding:
            carried = *carried, module_of(self.device).zeros_like(carried[0][:1])
        return carried

    def step(self, embedded, carried, memory):
        """One step of N sequences, for which nothing is kept.

        embedded (N, E); memory: what `remember` returned. Returns the attentional states (N, H),
        the weights (N, Tk) and what to carry along.
        """
        parts, fed = self._parts, None
        if self.input_feeding:
            *carried, fed = carried
        state = tuple(carried) if len(carried) > 1 else carried[0]
        hidden, state = parts["recurrent"](self._feed(embedded[None], fed), state)
        context, weights = parts["attention"](hidden, memory)
        attended = parts["combination"](self._join(context, hidden))
        self.kernels.apply_map(MAPS["tanh"][0], (attended,), ())
        carried = state if isinstance(state, tuple) else (state,)
        return attended[0], weights[0], (*carried, attended) if self.input_feeding else carried

    def _feed(self, step, fed):
        """A step's input (1, N, E), with the attentional state before it beside where it is fed."""
        if not self.input_feeding:
            return step
        if fed is None:
            xp, width = module_of(self.device), self._parts["attention"].key_size
            fed = xp.zeros((*step.shape[:2], width), self.dtype)
        return self._join(step, fed)

    def _join(self, first, second):
        return module_of(self.device).concatenate([first, second], -1)

    def _attend(self, hidden, memory):
        """The attentional states of hidden ones, and the way back: dhidden and dkeys."""
        context, _, back_attention = self._parts["attention"].forward(hidden, memory)
        attended, back_combination = self._parts["combination"].forward(self._join(context, hidden))
        self.kernels.apply_map(MAPS["tanh"][0], (attended,), ())

        def backward(d):
            d = d.copy()
            self.kernels.apply_map(MAPS["tanh"][1], (d, attended), ())
            djoined = back_combination(d)
            dquery, dkeys = back_attention(djoined[..., : context.shape[2]])
            return djoined[..., context.shape[2] :] + dquery, dkeys

        return attended, backward
