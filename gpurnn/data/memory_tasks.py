"""The two classical tasks of memory: what matters comes early, is asked for late.

Both are NumPy, time-major; sequences are drawn anew at each call, so that nothing can be learnt
by heart but the rule.
"""

import numpy as np

from ..arrays import check_rng, check_size


def adding_problem(steps, batch_size, rng=None, dtype="float32"):
    """Add the two marked ones of many numbers (Hochreiter & Schmidhuber 1997).

    As Le, Jaitly & Hinton (2015) pose it: the numbers are uniform in [0, 1), one is marked
    among the first T // 2 steps, one among the others. Always to say 1, the best answer
    of who remembers nothing, costs a mean squared error of 1/6 = 0.167; who remembers the
    second number alone can reach 1/12 = 0.083.

    Parameters
    ----------
    steps : int, at least 2; T
    batch_size : int; B
    rng : None, int or numpy.random.Generator
    dtype : a floating type

    Returns
    -------
    x : array (T, B, 2)
        The numbers, and their marks: 1 at two steps, else 0.
    target : array (B, 1)
        The sum of the marked numbers, to be said after the last step.

    Raises ValueError if a size is too small or no integer, ValueError or TypeError for the rng.
    """
    steps, batch = check_size(steps, "steps"), check_size(batch_size, "batch_size")
    if steps < 2:
        raise ValueError(f"steps: expected at least 2, got {steps}")
    rng, each = check_rng(rng), np.arange(batch)
    x = np.zeros((steps, batch, 2), dtype)
    x[..., 0] = rng.random((steps, batch))
    x[rng.integers(0, steps // 2, batch), each, 1] = 1
    x[rng.integers(steps // 2, steps, batch), each, 1] = 1
    return x, (x[..., :1] * x[..., 1:]).sum(axis=0)


def copy_task(lag, batch_size, rng=None, *, length=10, symbols=8):
    """Say again, after a pause, what was heard (Hochreiter & Schmidhuber 1997).

    As Arjovsky, Shah & Bengio (2016) pose it: `length` symbols, then `lag` steps, the last of
    which is the sign to begin, the others blanks; then `length` blanks, while the symbols are
    to be said in their order. Who remembers nothing guesses: log(symbols) nats a symbol over
    the steps of the answer, which is Arjovsky's `length log(symbols) / (lag + 2 length)` over
    all steps, the blanks being sure.

    Parameters
    ----------
    lag, batch_size, length, symbols : int, each at least 1
    rng : None, int or numpy.random.Generator

    Returns
    -------
    codes : integers (T, B), T = lag + 2 length
        0 to symbols - 1 for the symbols, then one for the blank, one for the sign: symbols + 2
        in all.
    targets : integers (T, B)
        The blank, but for the last `length` steps, which are the first `length` codes.

    Raises ValueError if a size is no integer of at least 1, ValueError or TypeError for the rng.
    """
    lag, batch = check_size(lag, "lag"), check_size(batch_size, "batch_size")
    length, symbols = check_size(length, "length"), check_size(symbols, "symbols")
    blank, sign = symbols, symbols + 1
    codes = np.full((lag + 2 * length, batch), blank)
    targets = codes.copy()
    codes[:length] = check_rng(rng).integers(0, symbols, (length, batch))
    codes[length + lag - 1] = sign
    targets[-length:] = codes[:length]
    return codes, targets
