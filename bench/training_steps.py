"""One whole training step of a language model, by gpurnn and its peers: make(sizes) -> step().

Every step: embedding, recurrent layer, output layer, mean cross-entropy, backward, clipping of
the norm, Adam; the state is carried on. `step()` returns the loss in nats, a float. All begin
with the same parameters and see the same chunks.
"""

from dataclasses import dataclass
from functools import partial
from itertools import cycle

import numpy as np

import gpurnn
from bench.prepared import fastest

CHUNKS = 8
LR, CLIP = 4e-3, 1.0


@dataclass(frozen=True)
class Sizes:
    """The defaults are those of `gpurnn train`."""

    cell: str = "lstm"
    vocabulary: int = 100
    embedding: int = 64
    hidden: int = 256
    batch: int = 32
    steps: int = 100

    def model(self):
        return gpurnn.LanguageModel(
            self.vocabulary, self.embedding, self.hidden, cell=self.cell, rng=0
        )

    def chunks(self):
        """(inputs, targets) of a random text, each int32 (T, B), over and over."""
        shape = CHUNKS, self.steps + 1, self.batch
        text = np.random.default_rng(1).integers(0, self.vocabulary, shape, np.int32)
        return cycle([(chunk[:-1].copy(), chunk[1:].copy()) for chunk in text])


def ours(sizes):
    model, chunks, state = sizes.model(), sizes.chunks(), None
    optimizer = gpurnn.Adam(model, lr=LR)

    def step():
        nonlocal state
        inputs, targets = next(chunks)
        model.zero_grads()
        loss, state, backward = model.loss(inputs, targets, state)
        backward()
        gpurnn.clip_grad_norm(model, CLIP)
        optimizer.step()
        return float(loss)

    return step


def pytorch(sizes):
    """With Adam's fused or its foreach form, whichever is quicker."""
    return fastest(*(partial(_pytorch, sizes, form) for form in ("fused", "foreach")))


def _pytorch(sizes, form):
    import torch

    kind = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[sizes.cell]
    model = torch.nn.ModuleDict(
        {
            "embedding": torch.nn.Embedding(sizes.vocabulary, sizes.embedding),
            "recurrent": kind(sizes.embedding, sizes.hidden),
            "output": torch.nn.Linear(sizes.hidden, sizes.vocabulary),
        }
    )
    start = sizes.model().state_dict()
    model.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in start.items()})
    optimizer = torch.optim.Adam(model.parameters(), lr=LR, **{form: True})
    chunks = cycle(
        [tuple(torch.from_numpy(part).long() for part in pair) for pair in _once(sizes.chunks())]
    )
    state = None

    def step():
        nonlocal state
        inputs, targets = next(chunks)
        optimizer.zero_grad(set_to_none=True)
        hidden, state = model["recurrent"](model["embedding"](inputs), state)
        logits = model["output"](hidden).flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(logits, targets.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP, foreach=True)
        optimizer.step()
        is_pair = isinstance(state, tuple)
        state = tuple(part.detach() for part in state) if is_pair else state.detach()
        return loss.item()

    return step


def jax_scan(sizes):
    """With the recurrent weights' gradient step by step or in one product, the quicker one."""
    from bench.peers.jax_scan import recurrence, recurrence_with_one_product

    ways = partial(recurrence, sizes.cell, 1), recurrence_with_one_product(sizes.cell)
    return fastest(*(partial(_jax, sizes, way) for way in ways))


def _jax(sizes, recurrence):
    """Everything in one compiled function, which overwrites parameters and moments in place."""
    import jax
    import jax.numpy as jnp

    from bench.peers.jax_scan import zero_state

    def loss_of(parameters, inputs, targets, state):
        p = parameters
        products = p["embedding.weight"][inputs] @ p["recurrent.weight_ih_l0"].T
        products += p["recurrent.bias_ih_l0"]
        weights = p["recurrent.weight_hh_l0"].T, p["recurrent.bias_hh_l0"]
        state, hidden = recurrence(state, products, *weights)
        logits = hidden @ p["output.weight"].T + p["output.bias"]
        chosen = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
        return (jax.nn.logsumexp(logits, axis=-1) - chosen).mean(), state

    def adam(parameter, mean, square, gradient, count):
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        root = jnp.sqrt(square / (1 - 0.999**count))
        return parameter - LR * mean / (1 - 0.9**count) / (root + 1e-8), mean, square

    @partial(jax.jit, donate_argnums=(0, 1, 2))
    def update(parameters, means, squares, count, inputs, targets, state):
        arguments = parameters, inputs, targets, state
        (loss, state), gradients = jax.value_and_grad(loss_of, has_aux=True)(*arguments)
        norm = jnp.sqrt(sum((g**2).sum() for g in gradients.values()))
        factor = jnp.minimum(1.0, CLIP / (norm + 1e-6))
        changed = {
            name: adam(p, means[name], squares[name], factor * gradients[name], count)
            for name, p in parameters.items()
        }
        kept = ({name: parts[i] for name, parts in changed.items()} for i in range(3))
        return *kept, loss, state

    parameters = {name: jnp.array(value) for name, value in sizes.model().state_dict().items()}
    means, squares = (jax.tree.map(jnp.zeros_like, parameters) for _ in range(2))
    chunks = cycle([tuple(map(jnp.asarray, pair)) for pair in _once(sizes.chunks())])
    state, count = zero_state(sizes.cell, sizes.batch, sizes.hidden), 0

    def step():
        nonlocal parameters, means, squares, state, count
        count += 1
        moments = means, squares, float(count)
        parameters, means, squares, loss, state = update(parameters, *moments, *next(chunks), state)
        return float(jax.block_until_ready((loss, parameters))[0])

    return step


def _once(chunks):
    return [next(chunks) for _ in range(CHUNKS)]
