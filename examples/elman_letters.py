"""Find the structure in a stream of letters: J. L. Elman, "Finding structure in time", 1990.

Three syllables, ba, dii and guuu, follow each other at random, letter by letter. The network
says the next letter. Which consonant comes cannot be known; but once it is there, so are its
vowels and how many of them there will be: the loss must fall to nothing inside a syllable, and
stay at a guess among three at its end.

    python examples/elman_letters.py
"""

import numpy as np

import gpurnn

SYLLABLES, LETTERS = ("ba", "dii", "guuu"), "abdgiu"
STREAMS, LENGTH = 16, 60


def make_text(rng, length):
    """A text of random syllables."""
    text = "".join(SYLLABLES[i] for i in rng.integers(0, 3, length))
    return text[:length]


def main(updates=150, seed=0):
    """Train, print the loss by letter, return the mean losses (at consonants, at vowels)."""
    rng = np.random.default_rng(seed)
    network = gpurnn.ElmanNetwork(len(LETTERS), 20, len(LETTERS), rng=seed)
    optimizer = gpurnn.Adam(network, lr=1e-2)
    one_hot = np.eye(len(LETTERS), dtype=np.float32)
    for update in range(1, updates + 1):
        texts = [make_text(rng, LENGTH + 1) for _ in range(STREAMS)]
        codes = np.array([[LETTERS.index(letter) for letter in text] for text in texts]).T
        logits, _, backward = network.forward(one_hot[codes[:-1]])
        loss, dlogits = gpurnn.softmax_cross_entropy(logits, codes[1:])
        network.zero_grads()
        backward(dlogits)
        optimizer.step()
        if update % 50 == 0:
            print(f"update {update}: {float(loss) / np.log(2):.3f} bits a letter")

    text = make_text(rng, 400)
    codes = np.array([LETTERS.index(letter) for letter in text])
    logits, _ = network(one_hot[codes[:-1], None])
    odds = np.exp(logits[:, 0]) / np.exp(logits[:, 0]).sum(1, keepdims=True)
    bits = -np.log2(odds[np.arange(len(codes) - 1), codes[1:]])
    print("\nletter and its loss in bits; log2 3 is 1.58")
    for letter, loss in zip(text[1:25], bits):
        print(f"  {letter}  {loss:5.2f}  {'#' * round(20 * loss)}")
    consonant = np.array([letter in "bdg" for letter in text[1:]])
    return bits[consonant].mean(), bits[~consonant].mean()


if __name__ == "__main__":
    main()
