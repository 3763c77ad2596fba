"""What light recurrences make of their inputs before the first step: products of all steps.

Gates may see the inputs of the last steps too, a causal convolution over time (Bradbury et al.
2017, section 2.1). What the inputs so far will add to the gates of steps to come is then part of
the state: so sequences may be fed in pieces, which a padding with zeros would not allow.
"""

from dataclasses import dataclass


@dataclass
class Tape:
    """What the forward pass keeps.

    windows (T + k - 1, B, k, I): what each step sees; there is room for the k - 1 steps that
        come after the last, before row 0 of time where that runs backwards
    lags: for each of the k inputs of a window the rows in which the T inputs stand
    first, after: the rows and sequences of the first k - 1 steps, and of those after the last
    inside (T, B, 1): whether steps are before their sequences' ends, or None where all are
    """

    windows: object
    lags: list
    first: tuple
    after: tuple
    inside: object

    @property
    def steps(self):
        """The rows of the T steps."""
        return self.lags[0]


class CausalConvolution:
    """The gates' products with the inputs of `size` = k steps: the step's own, and those before.

    `kernels` and `xp` are those of the device. Weights (G H, k I) meet the step's own input first,
    then that of one step before, and so on. What is pending is (k - 1, B, G H): what the inputs so
    far add to the products of each of the next steps.
    """

    def __init__(self, kernels, xp, size):
        self._kernels, self._xp, self._size, self.past = kernels, xp, size, size - 1

    def forward(self, weight, bias, x, pending, ends, ragged, reverse):
        """(products (T, B, G H), what is pending at the end, tape); x (T, B, I), ends (B,)."""
        tape, (steps, batch, _) = self._tape(x, ends, ragged, reverse), x.shape
        sums = self._kernels.empty((steps + self.past, batch, len(weight)), x.dtype)
        self._multiply(tape.windows[tape.steps], weight, bias, sums[tape.steps])
        if self.past:
            after = self._xp.empty_like(pending)
            self._multiply(tape.windows[tape.after], weight, None, after)
            sums[tape.after] = after
            sums[tape.first] += pending
            pending = sums[tape.after]
        return sums[tape.steps], pending, tape

    def room_for_gradients(self, tape, width):
        """Room (T + k - 1, B, `width`) for gradients by products, 0 where there is no product.

        Those of the T steps go into the rows `tape.steps`.
        """
        full = tape.inside is None and not self.past
        windows = tape.windows
        make = self._kernels.empty if full else self._kernels.zeros
        return make((*windows.shape[:2], width), windows.dtype)

    def backward(self, weight, tape, dsums, dpending, dweight, dbias):
        """(dx (T, B, I), the gradient by what was pending at first).

        dsums is a `room_for_gradients` with those by the products, and is changed; dpending is
        the gradient by what is pending at the end. Adds into dweight, and dbias, which may be
        None.
        """
        kernels, xp = self._kernels, self._xp
        windows, back = tape.windows, kernels.linear_backward
        dwindows = (kernels.zeros if self.past else kernels.empty)(windows.shape, dsums.dtype)
        if self.past:
            dsums[tape.after] = dpending
            dpending, dafter = dsums[tape.first], dpending
            dsums[tape.after] = 0
        depth, width = weight.shape[1], len(weight)
        back(
            windows[tape.steps].reshape(-1, depth), weight, dsums[tape.steps].reshape(-1, width),
            dwindows[tape.steps].reshape(-1, depth), dweight, dbias,
        )  # fmt: skip
        if self.past:
            seen = windows[tape.after]
            dseen = xp.empty_like(seen)
            back(
                seen.reshape(-1, depth), weight, dafter.reshape(-1, width),
                dseen.reshape(-1, depth), dweight, None,
            )  # fmt: skip
            dwindows[tape.after] += dseen
        dx = dwindows[tape.steps, :, 0]
        for lag in range(1, self._size):
            dx = dx + dwindows[tape.lags[lag], :, lag]
        return dx if tape.inside is None else xp.where(tape.inside, dx, 0), dpending

    def _tape(self, x, ends, ragged, reverse):
        xp, past, (steps, batch, inputs) = self._xp, self.past, x.shape
        inside = None
        if ragged:  # what lies past the ends may be anything, and must not meet the weights
            inside = (xp.arange(steps)[:, None] < ends)[:, :, None]
            x = xp.where(inside, x, 0)
        starts = [past - lag if reverse else lag for lag in range(self._size)]
        lags = [slice(start, start + steps) for start in starts]
        windows = x[:, :, None]
        if past:
            windows = self._kernels.zeros((steps + past, batch, self._size, inputs), x.dtype)
            for lag, rows in enumerate(lags):
                windows[rows, :, lag] = x
        ran, sequences = xp.arange(past)[:, None], xp.arange(batch)
        first = past + ends - 1 - ran if reverse else ran
        after = past - 1 - ran if reverse else ends + ran
        return Tape(windows, lags, (first, sequences), (after, sequences), inside)

    def _multiply(self, windows, weight, bias, out):
        depth, width = weight.shape[1], len(weight)
        forward = self._kernels.linear_forward
        forward(windows.reshape(-1, depth), weight, bias, out.reshape(-1, width))
