"""What is timed: one recurrent layer, one direction, float32, of a few telling shapes."""

from dataclasses import dataclass

GATES = {"rnn": 1, "lstm": 4, "gru": 3}
MODES = ("inference", "training", "stream")

# T, B, I, H
DEFAULT_SHAPES = (
    (1, 1, 128, 128),  # what a call costs
    (100, 1, 64, 64),  # one small stream
    (100, 1, 256, 256),  # one stream, the weights in the second-level cache
    (100, 1, 1024, 1024),  # one stream, the weights read from far at each step
    (1000, 16, 64, 64),  # long sequences of a small layer
    (28, 128, 28, 128),  # rows of small images
    (100, 32, 512, 512),
    (50, 64, 1024, 1024),  # large enough for the matrix product to be all that counts
)
QUICK_SHAPES = ((1, 1, 128, 128), (100, 1, 256, 256), (28, 128, 28, 128))


@dataclass(frozen=True)
class Case:
    cell: str
    T: int
    B: int
    I: int
    H: int

    def __str__(self):
        return f"{self.cell} {self.T},{self.B},{self.I},{self.H}"

    @property
    def rows(self):
        return GATES[self.cell] * self.H

    def flops(self, mode):
        """Of the matrix products alone. Training: as many again for dx and dh, and for dW."""
        forward = 2 * self.T * self.B * self.rows * (self.I + self.H)
        return 3 * forward if mode == "training" else forward

    def bytes(self, mode):
        """What must pass the memory at least: weights once, inputs and outputs once."""
        weights, sequence = self.rows * (self.I + self.H), self.T * self.B * (self.I + self.H)
        return 4 * (weights + sequence) * (2 if mode == "training" else 1)

    def is_large(self):
        """Large enough for the matrix product to be what counts."""
        return self.B >= 32 and self.H >= 512

    def numbers(self):
        """Weights by PyTorch's names, x and dy: the same for every peer."""
        import numpy as np  # here: `--threads` must be read before NumPy's libraries load

        rng = np.random.default_rng(1)

        def normal(*shape, scale=1.0):
            return (scale * rng.standard_normal(shape)).astype(np.float32)

        weights = {
            "weight_ih_l0": normal(self.rows, self.I, scale=0.5 * self.I**-0.5),
            "weight_hh_l0": normal(self.rows, self.H, scale=0.5 * self.H**-0.5),
            "bias_ih_l0": normal(self.rows, scale=0.1),
            "bias_hh_l0": normal(self.rows, scale=0.1),
        }
        return weights, normal(self.T, self.B, self.I), normal(self.T, self.B, self.H)
