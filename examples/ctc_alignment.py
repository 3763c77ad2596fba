"""Learn what was said, and when, from what was said alone: connectionist temporal classification.

A toy of speech: each letter sounds for 2 to 5 steps, in a noise of three channels, with pauses
between. The network is told the words but not where their letters are (Graves et al. 2006).

    python examples/ctc_alignment.py
"""

import numpy as np

import gpurnn

LETTERS, BLANK, BATCH, CHANNELS = "-abcd", 0, 32, 3
STEPS, LONGEST = 40, 5


def make_words(rng, sounds, count):
    """Sound (T, B, C), words (B, S), how long each lasts and how many letters it has."""
    heard = rng.normal(0, 0.3, (STEPS, count, CHANNELS)).astype(np.float32)
    counts = rng.integers(1, LONGEST + 1, count)
    words = rng.integers(1, len(LETTERS), (count, LONGEST))
    ends = np.zeros(count, int)
    for b, letters in enumerate(counts):
        for letter in words[b, :letters]:
            start = ends[b] + rng.integers(1, 4)
            ends[b] = start + rng.integers(2, 6)
            heard[start : ends[b], b] += sounds[letter]
    return heard, words, np.minimum(ends + 1, STEPS), counts


def text(labels):
    """Labels as letters."""
    return "".join(LETTERS[k] for k in labels)


def main(updates=200, seed=0):
    """Train, print words as heard, return the share of new words heard rightly."""
    rng = np.random.default_rng(seed)
    sounds = rng.standard_normal((len(LETTERS), CHANNELS)).astype(np.float32)
    listener = gpurnn.LSTM(CHANNELS, 24, bidirectional=True, rng=seed)
    output = gpurnn.Linear(48, len(LETTERS), rng=seed)
    optimizers = [gpurnn.Adam(layer, lr=1e-2) for layer in (listener, output)]
    for update in range(1, updates + 1):
        heard, words, steps, counts = make_words(rng, sounds, BATCH)
        hidden, _, back_listener = listener.forward(heard, lengths=steps)
        logits, back_output = output.forward(hidden)
        loss, dlogits = gpurnn.ctc_loss(logits, words, steps, counts, blank=BLANK)
        for layer in (listener, output):
            layer.zero_grads()
        back_listener(back_output(dlogits))
        for layer, optimizer in zip((listener, output), optimizers):
            gpurnn.clip_grad_norm(layer, 1.0)
            optimizer.step()
        if update % 50 == 0:
            print(f"update {update}: {float(loss):.3f} nats a letter")

    heard, words, steps, counts = make_words(rng, sounds, 100)
    logits = output(listener(heard, lengths=steps)[0])
    decoded = gpurnn.ctc_beam_decode(logits, steps, width=8, blank=BLANK)
    right = 0
    for b, hypotheses in enumerate(decoded):
        labels, score = hypotheses[0]
        said = text(words[b, : counts[b]])
        right += text(labels) == said
        if b < 4:
            path = logits[: steps[b], b].argmax(-1)
            print(f"{said:>5}, heard as {text(labels):5} ({np.exp(score):.2f})  {text(path)}")
    print(f"{right} of {len(decoded)} new words heard rightly")
    return right / len(decoded)


if __name__ == "__main__":
    main()
