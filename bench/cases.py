"""What is timed: one recurrent layer, one direction, float32, of a few telling shapes."""

from dataclasses import dataclass

GATES = {"rnn": 1, "lstm": 4, "gru": 3}

# T, B, I, H
DEFAULT_SHAPES = (
    (50, 1, 64, 64),  # one small stream: what a call costs
    (100, 1, 128, 256),  # one stream: the weights must pass the cores at each step
    (28, 128, 28, 128),  # rows of small images
    (100, 32, 64, 256),  # the default language model of `gpurnn train`
    (50, 64, 512, 512),  # large enough for the matrix product to be all that counts
)


@dataclass(frozen=True)
class Case:
    cell: str
    T: int
    B: int
    I: int
    H: int

    @property
    def rows(self):
        return GATES[self.cell] * self.H

    def flops(self, mode):
        """Of the matrix products alone. Training: as many again for dx and dh, and for dW."""
        forward = 2 * self.T * self.B * self.rows * (self.I + self.H)
        return forward if mode == "inference" else 3 * forward

    def bytes(self, mode):
        """What must pass the memory at least: weights once, inputs and outputs once."""
        weights, sequence = self.rows * (self.I + self.H), self.T * self.B * (self.I + self.H)
        return 4 * (weights + sequence) * (1 if mode == "inference" else 2)

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
