"""A recurrent language model: embedding, recurrent layers, linear output."""

import numpy as np

from gpurnn.arrays import to_device, to_numpy
from gpurnn.layers import GRU, LSTM, RNN, Embedding, Linear
from gpurnn.layers.assembly import Assembly
from gpurnn.learning.losses import softmax_cross_entropy
from gpurnn.models.sampling import Sampler

CELLS = {"rnn": RNN, "lstm": LSTM, "gru": GRU}


class LanguageModel(Assembly):
    """Says which symbol comes next (Mikolov et al. 2010), as a network of layers.

    vocabulary_size, embedding_size, hidden_size, num_layers: sizes, each at least 1.
    cell: "rnn", "lstm" or "gru".
    dropout: share of the values dropped in training between the layers, the embedding's and the
        last recurrent layer's outputs included, never along time (Zaremba et al. 2014).
    dtype, device, rng: as in the layers. All layers share one generator, `rng`.

    `params` and `grads` are the layers' own, named "embedding.weight",
    "recurrent.weight_ih_l0", "output.weight" and so on.
    """

    takes_halves = True

    def __init__(
        self, vocabulary_size, embedding_size, hidden_size, cell="lstm", num_layers=1,
        dropout=0.0, dtype="float32", device="cpu", rng=None,
    ):  # fmt: skip
        if cell not in CELLS:
            raise ValueError(f"cell: expected one of {', '.join(CELLS)}, got {cell!r}")
        super().__init__(dtype, device, rng, dropout)
        common = {"dtype": dtype, "device": device, "rng": self.rng}
        self._assemble(
            {
                "embedding": Embedding(vocabulary_size, embedding_size, **common),
                "recurrent": CELLS[cell](
                    embedding_size, hidden_size, num_layers, dropout=dropout, **common
                ),
                "output": Linear(hidden_size, vocabulary_size, **common),
            }
        )

    def __call__(self, indices, state=None):
        """Logits for the symbol after each: without dropout, keeping nothing.

        indices: integers (T, B), on the model's device; state: the recurrent layers', None for
        zeros. Returns logits (T, B, vocabulary_size) and the new state.
        """
        y, state = self._parts["recurrent"](self._parts["embedding"](indices), state)
        return self._parts["output"](y), state

    def evaluate(self, indices, targets, state=None):
        """Mean cross-entropy in nats (0-d array) and the new state; as `loss`, for no training."""
        logits, state = self(indices, state)
        return softmax_cross_entropy(logits, targets)[0], state

    def loss(self, indices, targets, state=None):
        """Mean cross-entropy in nats, with dropout.

        indices, targets: integers (T, B); state: carried from the chunk before, or None.
        Returns the loss (0-d array), the new state, and `backward()`, which adds the gradients
        of this chunk into `grads` (the state it began with counts as a constant: truncated
        back-propagation through time).
        """
        embedding, recurrent, output = self._parts.values()
        embedded, back_embedding = embedding.forward(indices)
        embedded, drop_embedded = self._drop(embedded)
        hidden, state, back_recurrent = recurrent.forward(embedded, state)
        hidden, drop_hidden = self._drop(hidden)
        logits, back_output = output.forward(hidden)
        loss, dlogits = softmax_cross_entropy(logits, targets)

        def backward():
            dembedded, _ = back_recurrent(drop_hidden(back_output(dlogits)))
            back_embedding(drop_embedded(dembedded))

        return loss, state, backward

    def generate(self, prompt, length, sampler=None):
        """Symbols that follow a prompt, one by one, the state carried along.

        prompt: integers (T,), T at least 1; sampler: a Sampler (None: temperature 1).
        Returns int32 (length,).
        """
        prompt = np.asarray(prompt)
        if prompt.ndim != 1 or not len(prompt):
            raise ValueError(f"prompt: expected (T,) with T at least 1, got {prompt.shape}")
        sampler = sampler or Sampler()
        codes, state = np.empty(length, np.int32), None
        step = prompt.astype(np.int32)[:, None]
        for i in range(length):
            logits, state = self(to_device(step, self.device), state)
            codes[i] = sampler(to_numpy(logits[-1, 0]))
            step = codes[i : i + 1, None]
        return codes
