"""The recurrent layers by name."""

from .. import cells
from ..arrays import check_dtype, check_size, is_half
from .recurrent import Recurrent


class RNN(Recurrent):
    """The simple recurrent network of Elman (1990): h = act(W x + b + U h' + c).

    `nonlinearity` is "tanh" or "relu"; for the rest see `Recurrent`.
    """

    def __init__(self, input_size, hidden_size, num_layers=1, *, nonlinearity="tanh", **options):
        by_name = {"tanh": cells.RNN_TANH, "relu": cells.RNN_RELU}
        if nonlinearity not in by_name:
            raise ValueError(f"nonlinearity: expected 'tanh' or 'relu', got {nonlinearity!r}")
        self.nonlinearity = nonlinearity
        super().__init__(by_name[nonlinearity], input_size, hidden_size, num_layers, **options)


class LSTM(Recurrent):
    """Long short-term memory (Hochreiter & Schmidhuber 1997; Gers et al. 2000), gates i f g o.

    Its state is a pair (h, c). With `peepholes` (Gers & Schmidhuber 2000) the input and forget
    gates also see the old cell state, the output gate the new one, each unit its own, through
    the parameters `weight_ci_lk`, `weight_cf_lk`, `weight_co_lk` (H,). `coupled` (CIFG, Greff et
    al. 2017) has the input gate 1 - f: the gates are f g o, and there is no `weight_ci_lk`.

    With `proj_size` P (H. Sak, A. Senior, F. Beaufays, "Long short-term memory recurrent neural
    network architectures for large scale acoustic modeling", 2014) what comes out of a step and
    meets the recurrent weights is a projection, h_t = W_hr (o_t * tanh(c_t)), by `weight_hr_lk`
    (P, H), as in PyTorch: h is (L D, B, P), c (L D, B, H), y (T, B, D P), `weight_hh_lk` (G H, P).
    It runs stepwise on CUDA, in float32 and float64, without zoneout, recurrent dropout and layer
    normalisation.

    See `Recurrent` for the other parameters and use. Raises ValueError if `proj_size` is not a
    whole number from 0 (no projection) to below the hidden size, or does not go with an option.
    """

    def __init__(
        self, input_size, hidden_size, num_layers=1, *, peepholes=False, coupled=False, proj_size=0,
        **options,
    ):  # fmt: skip
        self.peepholes, self.coupled = bool(peepholes), bool(coupled)
        self.proj_size = _checked_projection(proj_size, hidden_size, options)
        cell = {
            (False, False): cells.LSTM,
            (True, False): cells.LSTM_PEEPHOLES,
            (False, True): cells.LSTM_COUPLED,
            (True, True): cells.LSTM_COUPLED_PEEPHOLES,
        }[self.peepholes, self.coupled]
        super().__init__(cell, input_size, hidden_size, num_layers, **options)

    def reduced(self, kind="bfloat16"):
        """As `Recurrent.reduced`; ValueError with a projection."""
        if self.proj_size:
            raise ValueError(f"reduced: expected a layer without projection, got {self.proj_size}")
        return super().reduced(kind)


def _checked_projection(size, hidden_size, options):
    """`size` as an int, checked to go with a layer's hidden size and its other options."""
    if size == 0 and not isinstance(size, bool):
        return 0
    if check_size(size, "proj_size") >= check_size(hidden_size, "hidden_size"):
        raise ValueError(f"proj_size: expected less than hidden_size {hidden_size}, got {size}")
    for name in ("zoneout", "recurrent_dropout", "layer_norm"):
        if options.get(name):
            raise ValueError(f"{name}: expected none with proj_size, got {options[name]}")
    dtype = check_dtype(options.get("dtype", "float32"), halves=True)
    if is_half(dtype):
        raise ValueError(f"dtype: expected float32 or float64 with proj_size, got {dtype}")
    return int(size)


class GRU(Recurrent):
    """The gated recurrent unit (Cho et al. 2014), gates r z n.

    `reset_after` tells where the reset gate stands: after the recurrent product, as in PyTorch,
    cuDNN and Keras, or (False) before it, as in the paper. For the rest see `Recurrent`.
    """

    def __init__(self, input_size, hidden_size, num_layers=1, *, reset_after=True, **options):
        self.reset_after = bool(reset_after)
        cell = cells.GRU_RESET_AFTER if reset_after else cells.GRU_RESET_BEFORE
        super().__init__(cell, input_size, hidden_size, num_layers, **options)
