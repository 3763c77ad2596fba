"""Quasi-recurrent networks: convolutions over time, pooled by a scan."""

from ..arrays import check_size
from ..kernels.cells.qrnn import POOLINGS
from .scans import ScanStack


class QRNN(ScanStack):
    """The quasi-recurrent neural network (J. Bradbury et al., 2017), equations 1 to 5.

        z_t = tanh(W_z x_{t-k+1..t})    f_t, o_t, i_t = sigmoid(W x_{t-k+1..t})

        "f"      h_t = f_t h_{t-1} + (1 - f_t) z_t
        "fo"     c_t = f_t c_{t-1} + (1 - f_t) z_t    h_t = o_t c_t
        "ifo"    c_t = f_t c_{t-1} + i_t z_t          h_t = o_t c_t

    The gates are a causal convolution of the inputs of k steps, one product for all; what is left
    is a scan: see `MinGRU`.

    Parameters
    ----------
    input_size, hidden_size, num_layers : int
    kernel_size : int
        The k steps whose inputs the gates see. The reverse direction sees those after the step,
        which come before it there.
    pooling : "f", "fo" or "ifo"
    bidirectional, bias, dropout, batch_first, dtype, device, rng : as of `Recurrent`

    The parameters are `weight_ih_lk` (G H, kernel_size I), in whose columns stands the step's own
    input first, then that of one step before, and so on, and `bias_ih_lk` (G H,); gates z f o i,
    as many as the pooling has; with the suffix `_reverse` for the reverse direction.

    Called, and used in training, as `Recurrent`. The state is c (L D, B, H); of a kernel_size above
    1 a tuple of c and, of each of the next kernel_size - 1 steps in turn, of each gate, what the
    inputs so far add to its product: so sequences may come in pieces, and step by step. (Set to
    zero it is the paper's padding.)

    Raises ValueError if an option is out of range.
    """

    def __init__(
        self, input_size, hidden_size, num_layers=1, *, kernel_size=2, pooling="fo", **options
    ):
        if pooling not in POOLINGS:
            raise ValueError(f"pooling: expected 'f', 'fo' or 'ifo', got {pooling!r}")
        self.pooling, self.kernel_size = pooling, check_size(kernel_size, "kernel_size")
        super().__init__(
            POOLINGS[pooling], input_size, hidden_size, num_layers, window=self.kernel_size,
            **options,
        )  # fmt: skip
