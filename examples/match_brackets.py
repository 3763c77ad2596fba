"""Tell which brackets of a string have a partner, by a deep stack that reads in both directions.

Whether a closing bracket has a partner is told by what stands before it, of an opening one by what
follows. The stack is the encoder of Y. Wu et al., "Google's neural machine translation system",
2016: both directions below, above them layers in one direction with residual connections; and its
products are normalised (J. L. Ba, J. R. Kiros & G. E. Hinton, "Layer normalization", 2016). Beside
it the same stack without the reverse direction, which can but guess at what is still open.

    python examples/match_brackets.py
"""

import numpy as np

import gpurnn

OPEN, CLOSE = 0, 1
IGNORED = -100  # by the loss
LONGEST, BATCH, HIDDEN = 24, 64, 32


class Matcher:
    """Embedding, a deep stack, and an affine map to "alone" and "has a partner"."""

    def __init__(self, both, rng=0):
        bottom = gpurnn.LSTM(8, HIDDEN, bidirectional=both, layer_norm=True, rng=rng)
        width = bottom.output_size
        above = [gpurnn.LSTM(width, width, layer_norm=True, rng=rng) for _ in range(3)]
        self.layers = [
            gpurnn.Embedding(2, 8, rng=rng),
            gpurnn.Stack([bottom, *above], residual=range(1, 4)),
            gpurnn.Linear(width, 2, rng=rng),
        ]
        self._optimizers = [gpurnn.Adam(layer, lr=5e-3) for layer in self.layers]

    def says(self, strings, lengths):
        """(T, B) -> for each bracket 1 if it is said to have a partner, else 0."""
        embedding, stack, readout = self.layers
        y, _ = stack(embedding(strings), lengths=lengths)
        return readout(y).argmax(-1)

    def learn(self, strings, marks, lengths):
        """One step of the optimizers."""
        for layer in self.layers:
            layer.zero_grads()
        embedding, stack, readout = self.layers
        x, back_to_strings = embedding.forward(strings)
        y, _, back_to_x = stack.forward(x, lengths=lengths)
        logits, back_to_y = readout.forward(y)
        _, dlogits = gpurnn.softmax_cross_entropy(logits, marks)
        back_to_strings(back_to_x(back_to_y(dlogits))[0])
        for layer, optimizer in zip(self.layers, self._optimizers):
            gpurnn.clip_grad_norm(layer, 1.0)
            optimizer.step()


def paired(string):
    """For each bracket 1 if it has a partner, else 0."""
    marks, waiting = np.zeros(len(string), int), []
    for i, bracket in enumerate(string):
        if bracket == OPEN:
            waiting.append(i)
        elif waiting:
            marks[[waiting.pop(), i]] = 1
    return marks


def draw(rng, count):
    """Strings (T, B), which of their brackets have partners (T, B), and the lengths (B,).

    Past the ends strings hold anything, marks `IGNORED`.
    """
    lengths = rng.integers(LONGEST // 2, LONGEST + 1, count)
    strings = rng.integers(0, 2, (LONGEST, count))
    marks = np.full(strings.shape, IGNORED)
    for b, n in enumerate(lengths):
        marks[:n, b] = paired(strings[:n, b])
    return strings, marks, lengths


def main(updates=300, seed=0):
    """Train both; returns {name: shares of (opening, closing) brackets of new strings told}."""
    told = {}
    for name, both in (("one direction", False), ("both directions", True)):
        rng, matcher = np.random.default_rng(seed), Matcher(both, seed)
        for _ in range(updates):
            matcher.learn(*draw(rng, BATCH))
        strings, marks, lengths = draw(rng, 500)
        says = matcher.says(strings, lengths)
        right = says == marks
        told[name] = tuple(
            float(right[(marks != IGNORED) & (strings == kind)].mean()) for kind in (OPEN, CLOSE)
        )
        print(f"{name:>15}: {told[name][0]:.1%} of '(' and {told[name][1]:.1%} of ')' told rightly")
        n = lengths[0]
        print(f"{'':>15}  {''.join('()'[bracket] for bracket in strings[:n, 0])}")
        print(f"{'':>15}  {''.join('.|'[mark] for mark in says[:n, 0])}", flush=True)
    return told


if __name__ == "__main__":
    main()
