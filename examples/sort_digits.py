"""Sort the digits of a string, by an encoder-decoder that attends to it.

Strings of 3 to 9 digits, of unequal lengths in one batch. Nothing tells the network what a
digit is worth: it sees pairs of strings, learns the order, and how often to repeat each digit.

    python examples/sort_digits.py
"""

import numpy as np

import gpurnn

LONGEST, BATCH = 9, 64


def make_pairs(rng, count):
    """Strings (T, B), the same sorted, and their lengths (B,); past the ends anything."""
    lengths = rng.integers(3, LONGEST + 1, count)
    digits = rng.integers(0, 10, (LONGEST, count))
    digits[np.arange(LONGEST)[:, None] >= lengths] = 9  # sorted, these stay past the ends
    return digits, np.sort(digits, 0), lengths


def text(digits):
    """Digits as they are read."""
    return "".join(map(str, digits))


def main(updates=500, seed=0):
    """Train, show what became of some strings, return the share of new ones sorted rightly."""
    rng = np.random.default_rng(seed)
    model = gpurnn.EncoderDecoder(10, 10, 24, 64, cell="gru", rng=seed)
    optimizer = gpurnn.Adam(model, lr=1e-2)
    schedule = gpurnn.schedules.Cosine(optimizer, updates)
    for update in range(1, updates + 1):
        source, target, lengths = make_pairs(rng, BATCH)
        model.zero_grads()
        loss, backward = model.loss(source, target, lengths, lengths)
        backward()
        gpurnn.clip_grad_norm(model, 1.0)
        schedule(update)
        optimizer.step()
        if update % 100 == 0:
            print(f"update {update}: {float(loss):.3f} nats a symbol")

    source, target, lengths = make_pairs(rng, 100)
    decoded = model.beam_search(source, 4, lengths)
    right = 0
    for b, n in enumerate(lengths):
        best = decoded[b][0]
        is_right = np.array_equal(best.tokens, target[:n, b])
        right += is_right
        if b < 5:
            odds, mark = np.exp(best.score), "" if is_right else "  wrong"
            print(f"{text(source[:n, b]):>9} -> {text(best.tokens):9} {odds:.2f}{mark}")
    best, shown = decoded[0][0], text(source[: lengths[0], 0])
    print(f"\nWhere it looked:  {'  '.join(shown)}")
    for symbol, row in zip([*best.tokens, "end"], best.attention):
        print(f"{symbol!s:>16}  {''.join(' .:-=+*#%@'[int(9.99 * w)] + '  ' for w in row)}")
    print(f"\n{right} of {len(lengths)} new strings sorted")
    return right / len(lengths)


if __name__ == "__main__":
    main()
