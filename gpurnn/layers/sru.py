"""Simple recurrent units."""

from ..kernels.cells import sru
from .scans import ScanStack


class SRU(ScanStack):
    """The simple recurrent unit (T. Lei et al., 2018), equations 1 to 4, without the scale alpha.

        f_t = sigmoid(W_f x_t + b_f + w_cf c_{t-1})    c_t = f_t c_{t-1} + (1 - f_t) W_v x_t
        r_t = sigmoid(W_r x_t + b_r + w_cr c_{t-1})    h_t = r_t c_t + (1 - r_t) s_t

    s_t are the direction's numbers of x_t itself where x_t has as many as both directions give,
    I = D H; else W_s x_t, as in the authors' own code. Only with `peepholes` do gates see the
    state, through w_c (H,), the paper's v: steps then wait for each other, though no unit for
    another. Without, all gates are known ahead, and the states are a scan: see `MinGRU`.

    Parameters
    ----------
    input_size, hidden_size, num_layers : int
    peepholes : bool
    bidirectional, bias, dropout, batch_first, dtype, device, rng : as of `Recurrent`

    The parameters are `weight_ih_lk` (G H, I) and `bias_ih_lk` (G H,), gates v f r, and s where the
    sizes differ (the paper has biases of f and r only), and with `peepholes` `weight_cf_lk` and
    `weight_cr_lk` (H,); with the suffix `_reverse` for the reverse direction. Called, and used in
    training, as `Recurrent`; its state is c (L D, B, H).
    """

    def __init__(self, input_size, hidden_size, num_layers=1, *, peepholes=False, **options):
        self.peepholes = bool(peepholes)
        super().__init__(self._cells[0], input_size, hidden_size, num_layers, **options)

    @property
    def _cells(self):
        """The cells of layers whose inputs are s, and of layers that make it."""
        if self.peepholes:
            return sru.SRU_PEEPHOLES, sru.SRU_PEEPHOLES_OF_PRODUCT
        return sru.SRU, sru.SRU_OF_PRODUCT

    def _cell_for(self, inputs):
        return self._cells[inputs != self.output_size]
