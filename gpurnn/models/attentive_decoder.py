"""The decoder of an encoder-decoder: recurrent layers that attend to the encoder's states."""

from gpurnn.arrays import module_of
from gpurnn.kernels.activations import MAPS
from gpurnn.layers import Attention, Linear
from gpurnn.layers.assembly import Assembly

ORDERS = ("after", "before")


class AttentiveDecoder(Assembly):
    """From hidden states h and contexts c the attentional states a = tanh(W [c; h] + b).

    order: "after": c is the context of h (Luong et al. 2015, eq. 5). "before": it is that of the
    top layer's hidden state of the step before, and is fed to the recurrence beside the input
    (Bahdanau et al. 2015, section 3.1).

    With `input_feeding` (Luong et al., section 3.3) each step is also fed the attentional state
    of the step before, the first one zeros: what was attended to is known. With this and with
    "before" training must go step by step; without, each layer takes all steps at once.

    layer: the class of the recurrent layers, `LSTM` or `GRU`; kind: of the `Attention`.
    """

    def __init__(
        self, layer, input_size, hidden_size, kind, num_layers, order, input_feeding, dropout,
        dtype, device, rng,
    ):  # fmt: skip
        super().__init__(dtype, device, rng, dropout)
        if order not in ORDERS:
            raise ValueError(f"order: expected one of {', '.join(ORDERS)}, got {order!r}")
        common = {"dtype": dtype, "device": device, "rng": self.rng}
        self.order, self.input_feeding = order, bool(input_feeding)
        width = input_size + hidden_size * ((order == "before") + self.input_feeding)
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
        if self.input_feeding or self.order == "before":
            return self._forward_by_steps(embedded, state, memory)
        hidden, _, back_recurrent = self._parts["recurrent"].forward(embedded, state, steps)
        context, _, back_attention = self._parts["attention"].forward(hidden, memory)
        attended, back_combination = self._combine(context, hidden)

        def backward(d):
            dcontext, dhidden = back_combination(d)
            dquery, _ = back_attention(dcontext)
            return *back_recurrent(dhidden + dquery), memory.backward()

        return attended, backward

    def _forward_by_steps(self, embedded, state, memory):
        tape, attended = [], []
        fed = self.start(state)[-1] if self.input_feeding else None
        for step in embedded:
            latest, state, back = self._forward_step(step[None], state, fed, memory)
            fed = latest if self.input_feeding else None
            attended.append(latest)
            tape.append(back)

        def backward(d):
            dembedded, dstate, dfed = module_of(self.device).empty_like(embedded), None, 0
            for t in range(len(d) - 1, -1, -1):
                dembedded[t : t + 1], dstate, dfed = tape[t](d[t : t + 1] + dfed, dstate)
            return dembedded, dstate, memory.backward()

        return module_of(self.device).concatenate(attended), backward

    def _forward_step(self, embedded, state, fed, memory):
        """One step: its attentional state, the layers' state, and the way back through it.

        fed: the attentional state of the step before, or None.
        The latter takes the gradients by both, and returns those by embedded, state and fed;
        those by the keys are added up in `memory`.
        """
        parts, before, context = self._parts, self.order == "before", None
        if before:
            context, _, back_attention = parts["attention"].forward(_top(state), memory)
        hidden, state, back_recurrent = parts["recurrent"].forward(
            self._join(embedded, context, fed), state
        )
        if not before:
            context, _, back_attention = parts["attention"].forward(hidden, memory)
        attended, back_combination = self._combine(context, hidden)
        inputs, units = embedded.shape[2], hidden.shape[2]

        def backward(d, dstate):
            dcontext, dhidden = back_combination(d)
            if not before:
                dhidden = dhidden + back_attention(dcontext)[0]
            dx, dstate = back_recurrent(dhidden, dstate)
            if before:
                dquery, _ = back_attention(dcontext + dx[..., inputs : inputs + units])
                top = _top(dstate)
                top += dquery
            return dx[..., :inputs], dstate, dx[..., -units:] if self.input_feeding else 0

        return attended, state, backward

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
        parts, before, fed, context = self._parts, self.order == "before", None, None
        if self.input_feeding:
            *carried, fed = carried
        state = tuple(carried) if len(carried) > 1 else carried[0]
        if before:
            context, weights = parts["attention"](_top(state), memory)
        hidden, state = parts["recurrent"](self._join(embedded[None], context, fed), state)
        if not before:
            context, weights = parts["attention"](hidden, memory)
        attended = parts["combination"](self._join(context, hidden))
        self.kernels.apply_map(MAPS["tanh"][0], (attended,), ())
        carried = state if isinstance(state, tuple) else (state,)
        return attended[0], weights[0], (*carried, attended) if self.input_feeding else carried

    def _join(self, *parts):
        """Arrays side by side, those of them that there are."""
        return module_of(self.device).concatenate([p for p in parts if p is not None], -1)

    def _combine(self, context, hidden):
        """The attentional states, and the way back: from their gradients dcontext and dhidden."""
        attended, back_combination = self._parts["combination"].forward(self._join(context, hidden))
        self.kernels.apply_map(MAPS["tanh"][0], (attended,), ())

        def backward(d):
            d = d.copy()
            self.kernels.apply_map(MAPS["tanh"][1], (d, attended), ())
            djoined = back_combination(d)
            return djoined[..., : context.shape[2]], djoined[..., context.shape[2] :]

        return attended, backward


def _top(state):
    """The hidden state (1, N, H) of the last layer, a view."""
    return (state[0] if isinstance(state, tuple) else state)[-1:]
