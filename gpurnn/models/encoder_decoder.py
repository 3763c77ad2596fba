"""From sequence to sequence: an encoder, and a decoder that attends to its states."""

import numpy as np

from gpurnn.arrays import (
    check_array,
    check_lengths,
    check_size,
    module_of,
    to_device,
    to_numpy,
)
from gpurnn.layers import GRU, LSTM, Embedding, Linear
from gpurnn.layers.assembly import Assembly
from gpurnn.learning.losses import softmax_cross_entropy
from gpurnn.models.attentive_decoder import AttentiveDecoder
from gpurnn.models.decoding import beam_search, greedy_search

CELLS = {"lstm": LSTM, "gru": GRU}
IGNORED = -100


class EncoderDecoder(Assembly):
    """Turns a sequence into another (Sutskever et al. 2014; Cho et al. 2014), with attention.

    The decoder starts from the encoder's final state. At each step its hidden state h attends
    to the encoder's outputs; from their weighted sum c comes tanh(W [c; h] + b), and from that
    the next symbol (Luong et al. 2015, eq. 5 and 6). This is attention after the recurrence: in
    training all steps of all sequences go through each layer at once.

    source_size, target_size: numbers of symbols. The model adds to the targets' one that
        begins a sequence, when fed, and ends it, when given: it is no business of the caller.
    embedding_size, hidden_size: sizes of both sides.
    cell: "lstm" or "gru".
    num_layers: of both sides.
    bidirectional: the encoder runs in both directions, each with half of `hidden_size`.
    attention: "general", "dot" or "additive", see `Attention`.
    order: "after", or "before" the recurrence: the hidden state of the step before attends, and c
        is fed to the decoder beside the symbol (Bahdanau et al. 2015, section 3.1; what comes of
        c and h is as above). Training then goes step by step.
    input_feeding: the decoder is also fed what came of its attention a step before (Luong et al.
        2015, section 3.3), and so knows where it has been. Training goes step by step then too.
    dropout: share of the values dropped in training of the embeddings, between the layers and
        before the output.
    dtype, device, rng: as in the layers. All layers share one generator, `rng`.
    """

    def __init__(
        self, source_size, target_size, embedding_size, hidden_size, *, cell="lstm", num_layers=1,
        bidirectional=True, attention="general", order="after", input_feeding=False,
        dropout=0.0, dtype="float32", device="cpu", rng=None,
    ):  # fmt: skip
        if cell not in CELLS:
            raise ValueError(f"cell: expected one of {', '.join(CELLS)}, got {cell!r}")
        super().__init__(dtype, device, rng, dropout)
        self.source_size = check_size(source_size, "source_size")
        self.target_size = check_size(target_size, "target_size")
        hidden_size = check_size(hidden_size, "hidden_size")
        self._directions = 2 if bidirectional else 1
        if hidden_size % self._directions:
            raise ValueError(
                f"hidden_size: expected an even number with bidirectional, got {hidden_size}"
            )
        common = {"dtype": dtype, "device": device, "rng": self.rng}
        self._assemble(
            {
                "source_embedding": Embedding(source_size, embedding_size, **common),
                "encoder": CELLS[cell](
                    embedding_size, hidden_size // self._directions, num_layers,
                    bidirectional=bidirectional, dropout=dropout, **common,
                ),
                "target_embedding": Embedding(target_size + 1, embedding_size, **common),
                "decoder": AttentiveDecoder(
                    CELLS[cell], embedding_size, hidden_size, attention, num_layers,
                    order, input_feeding, dropout, **common,
                ),
                "output": Linear(hidden_size, target_size + 1, **common),
            }
        )  # fmt: skip

    def loss(
        self, source, target, source_lengths=None, target_lengths=None, *, teacher_forcing=1.0
    ):
        """Mean cross-entropy in nats of the targets' symbols and their ends, with dropout.

        Parameters
        ----------
        source : integers (Ts, B), from 0 to source_size - 1
        target : integers (Tt, B), from 0 to target_size - 1
        source_lengths : integers (B,), from 1 to Ts; None stands for Ts
        target_lengths : integers (B,), from 0 to Tt; None stands for Tt; past the lengths both
            sources and targets may hold anything
        teacher_forcing : float from 0 to 1
            With this probability a step is fed the true symbol before it, else one drawn from
            what the model itself says there: scheduled sampling (Bengio et al. 2015). As there,
            no gradient goes through the draw.

        Returns
        -------
        loss : 0-d array
        backward : callable
            ``backward()`` adds the gradients by all parameters into `grads`.

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong device, dtype, shape or range.
        """
        source, source_lengths = self._check(
            source, source_lengths, "source", "Ts", self.source_size, 1
        )
        target, target_lengths = self._check(
            target, target_lengths, "target", "Tt", self.target_size, 0
        )
        if target.shape[1] != source.shape[1]:
            raise ValueError(
                f"target: expected (Tt, {source.shape[1]}) as in source, got {target.shape}"
            )
        if not 0 <= teacher_forcing <= 1:
            raise ValueError(f"teacher_forcing: expected 0 to 1, got {teacher_forcing!r}")
        fed, wanted = self._shift(target, target_lengths)
        if teacher_forcing < 1:
            fed = self._mix(fed, teacher_forcing, source, source_lengths)
        return self._loss(source, source_lengths, fed, wanted, target_lengths + 1)

    def greedy(self, source, source_lengths=None, *, max_length=None):
        """Decode by the likeliest symbol at every step.

        source, source_lengths: as in `loss`. max_length: of tokens; None stands for 2 Ts.
        Returns a list of B `Hypothesis`.
        """
        source, lengths, max_length = self._check_search(source, source_lengths, max_length)
        batch, end = source.shape[1], self.target_size
        found = greedy_search(self._stepper(source, lengths), batch, end, end, max_length)
        return [_trimmed(hypothesis, n) for hypothesis, n in zip(found, lengths)]

    def beam_search(
        self, source, width, source_lengths=None, *, max_length=None, length_penalty=0.0
    ):
        """Decode by following the `width` likeliest beginnings at every step.

        source, source_lengths, max_length: as in `greedy`. length_penalty: hypotheses are
        ordered by score / (tokens + 1) ** length_penalty; 0 orders by probability, 1 by the
        mean per symbol. Returns a list of B lists of up to `width` `Hypothesis`, best first.
        """
        source, lengths, max_length = self._check_search(source, source_lengths, max_length)
        width, end = check_size(width, "width"), self.target_size
        if not length_penalty >= 0:
            raise ValueError(f"length_penalty: expected 0 or more, got {length_penalty!r}")
        step = self._stepper(source, lengths, width)
        found = beam_search(
            step, source.shape[1], width, end, end, max_length, float(length_penalty)
        )
        return [[_trimmed(each, n) for each in of] for of, n in zip(found, lengths)]

    def _loss(self, source, source_lengths, fed, wanted, steps):
        parts = self._parts
        embedded, back_source = parts["source_embedding"].forward(source)
        embedded, drop_source = self._drop(embedded)
        keys, state, back_encoder = parts["encoder"].forward(embedded, lengths=source_lengths)
        embedded, back_target = parts["target_embedding"].forward(fed)
        embedded, drop_target = self._drop(embedded)
        attended, back_decoder = parts["decoder"].forward(
            embedded, self._bridge(state), keys, source_lengths, steps
        )
        attended, drop_attended = self._drop(attended)
        logits, back_output = parts["output"].forward(attended)
        loss, dlogits = softmax_cross_entropy(logits, wanted, IGNORED)

        def backward():
            dembedded, dstate, dkeys = back_decoder(drop_attended(back_output(dlogits)))
            back_target(drop_target(dembedded))
            dembedded, _ = back_encoder(dkeys, self._bridge_back(dstate))
            back_source(drop_source(dembedded))

        return loss, backward

    def _bridge(self, state):
        """The encoder's final states as the decoder's first: both directions side by side."""

        def join(part):
            each = part.reshape(-1, self._directions, *part.shape[1:]).swapaxes(1, 2)
            return each.reshape(*each.shape[:2], -1)

        return tuple(map(join, state)) if isinstance(state, tuple) else join(state)

    def _bridge_back(self, dstate):
        def split(part):
            each = part.reshape(*part.shape[:2], self._directions, -1).swapaxes(1, 2)
            return each.reshape(-1, part.shape[1], each.shape[-1])

        return tuple(map(split, dstate)) if isinstance(dstate, tuple) else split(dstate)

    def _shift(self, target, lengths):
        """What the decoder is fed, and what it shall say: (Tt + 1, B) each."""
        xp = module_of(self.device)
        steps, batch = target.shape
        fed = xp.full((steps + 1, batch), self.target_size)
        fed[1:] = target
        ends = xp.asarray(lengths)
        place = xp.arange(steps + 1)[:, None]
        wanted = xp.full((steps + 1, batch), IGNORED)
        wanted[:-1] = target
        wanted[place > ends] = IGNORED
        wanted[place == ends] = self.target_size
        return fed, wanted

    def _mix(self, fed, teacher_forcing, source, lengths):
        """`fed` with some of its symbols replaced by draws from the model, step by step.

        The steps here are the same as those that the loss then takes for all symbols at once:
        what is drawn is a constant to it.
        """
        true = to_numpy(fed)
        mixed, rows = true.copy(), np.arange(true.shape[1])
        step = self._stepper(source, lengths)
        for t in range(len(true) - 1):
            logits, _ = step(mixed[t], rows)
            logits[:, self.target_size] = -np.inf  # its place has a symbol: it does not end
            # The largest of logits with Gumbel noise is a draw from their softmax.
            drawn = (logits + self.rng.gumbel(size=logits.shape)).argmax(-1)
            forced = self.rng.random(len(rows)) < teacher_forcing
            mixed[t + 1] = np.where(forced, true[t + 1], drawn)
        return to_device(mixed, self.device)

    def _stepper(self, source, lengths, width=1):
        """A step of the decoder for `greedy_search` and `beam_search`, which carries its state."""
        xp, parts = module_of(self.device), self._parts
        embedded = parts["source_embedding"](source)
        keys, state = parts["encoder"](embedded, lengths=lengths)
        repeated = xp.ascontiguousarray(xp.repeat(keys, width, 1))
        memory = parts["decoder"].remember(repeated, np.repeat(lengths, width))
        carried = [
            xp.repeat(part, width, 1) for part in parts["decoder"].start(self._bridge(state))
        ]

        def step(tokens, rows):
            rows, tokens = to_device(rows, self.device), to_device(tokens, self.device)
            picked = [xp.ascontiguousarray(part[:, rows]) for part in carried]
            embedded = parts["target_embedding"](tokens)
            attended, weights, carried[:] = parts["decoder"].step(embedded, picked, memory)
            return to_numpy(parts["output"](attended)), to_numpy(weights)

        return step

    def _check(self, symbols, lengths, name, letters, size, shortest):
        """The symbols, 0 past the ends, and the lengths on the host."""
        symbols = check_array(symbols, name, self.device, None, (None, None), f"({letters}, B)")
        steps, batch = symbols.shape
        if steps < shortest or batch == 0:
            raise ValueError(
                f"{name}: expected at least {shortest} steps and one sequence, got {symbols.shape}"
            )
        lengths = [steps] * batch if lengths is None else lengths
        lengths = check_lengths(lengths, f"{name}_lengths", batch, shortest, steps)
        xp = module_of(self.device)
        inside = xp.arange(steps)[:, None] < xp.asarray(lengths)
        symbols = xp.where(inside, symbols, 0).astype(np.int64)
        if self.device == "cpu" and symbols.size:
            wrong = symbols[(symbols < 0) | (symbols >= size)]
            if wrong.size:
                raise ValueError(f"{name}: expected 0 to {size - 1}, got {wrong[0]}")
        return symbols, lengths

    def _check_search(self, source, lengths, max_length):
        source, lengths = self._check(source, lengths, "source", "Ts", self.source_size, 1)
        if max_length is None:
            max_length = 2 * len(source)
        return source, lengths, check_size(max_length, "max_length")


def _trimmed(hypothesis, length):
    """The hypothesis without the attention to its source's padding."""
    return hypothesis._replace(attention=hypothesis.attention[:, :length])
