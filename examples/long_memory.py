"""Remember a few symbols through a long stretch of noise: selective copying.

Symbols stand at random steps among many blanks; at the end the network shall say them in order,
one at each of the last steps (A. Gu and T. Dao, "Mamba", 2023; L. Feng et al., "Were RNNs all we
needed?", 2024). The gates see the input only, so that what to keep is told by what is read, and
which symbol comes when by the layer below.

    python examples/long_memory.py
"""

import numpy as np

import gpurnn

SYMBOLS, TO_KEEP, NOISE = 4, 2, 40
BLANK, ASK = SYMBOLS, SYMBOLS + 1  # what else there is to read


class Copier:
    """Embedding, a light recurrent stack, and an affine map to the symbols."""

    def __init__(self, kind, hidden=64, rng=0):
        self.layers = [
            gpurnn.Embedding(SYMBOLS + 2, 32, rng=rng),
            getattr(gpurnn, kind)(32, hidden, 3, rng=rng),
            gpurnn.Linear(hidden, SYMBOLS, rng=rng),
        ]
        self._optimizers = [gpurnn.Adam(layer, lr=5e-3) for layer in self.layers]

    def answers(self, inputs):
        """(T, B) -> the symbols (TO_KEEP, B) said at the end."""
        embedding, stack, readout = self.layers
        y, _ = stack(embedding(inputs))
        return readout(y[-TO_KEEP:]).argmax(-1)

    def learn(self, inputs, targets):
        """One step of the optimizers."""
        for layer in self.layers:
            layer.zero_grads()
        embedding, stack, readout = self.layers
        x, back_to_inputs = embedding.forward(inputs)
        y, _, back_to_x = stack.forward(x)
        logits, back_to_y = readout.forward(y[-TO_KEEP:])
        _, dlogits = gpurnn.softmax_cross_entropy(logits, targets)
        dy = np.zeros_like(y)
        dy[-TO_KEEP:] = back_to_y(dlogits)
        back_to_inputs(back_to_x(dy)[0])
        for layer, optimizer in zip(self.layers, self._optimizers):
            gpurnn.clip_grad_norm(layer, 1.0)
            optimizer.step()


def draw(rng, batch):
    """Inputs (NOISE + TO_KEEP, B) and targets (TO_KEEP, B)."""
    targets = rng.integers(SYMBOLS, size=(TO_KEEP, batch))
    inputs = np.full((NOISE + TO_KEEP, batch), BLANK)
    inputs[-TO_KEEP:] = ASK
    for b in range(batch):
        inputs[np.sort(rng.choice(NOISE, TO_KEEP, replace=False)), b] = targets[:, b]
    return inputs, targets


def main(updates=300, kinds=("MinGRU", "MinLSTM")):
    """Train each kind; returns the share of symbols of new sequences said rightly, by kind."""
    shares = {}
    for kind in kinds:
        rng, copier = np.random.default_rng(0), Copier(kind)
        for _ in range(updates):
            copier.learn(*draw(rng, 64))
        inputs, targets = draw(rng, 500)
        shares[kind] = float((copier.answers(inputs) == targets).mean())
        print(f"{kind}: {shares[kind]:.1%} of the symbols said rightly", flush=True)
    return shares


if __name__ == "__main__":
    main()
