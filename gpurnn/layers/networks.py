"""The recurrent layers by name."""

from .. import cells
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
    See `Recurrent` for the other parameters and use.
    """

    def __init__(
        self, input_size, hidden_size, num_layers=1, *, peepholes=False, coupled=False, **options
    ):
        self.peepholes, self.coupled = bool(peepholes), bool(coupled)
        cell = {
            (False, False): cells.LSTM,
            (True, False): cells.LSTM_PEEPHOLES,
            (False, True): cells.LSTM_COUPLED,
            (True, True): cells.LSTM_COUPLED_PEEPHOLES,
        }[self.peepholes, self.coupled]
        super().__init__(cell, input_size, hidden_size, num_layers, **options)


class GRU(Recurrent):
    """The gated recurrent unit (Cho et al. 2014), gates r z n.

    `reset_after` tells where the reset gate stands: after the recurrent product, as in PyTorch,
    cuDNN and Keras, or (False) before it, as in the paper. For the rest see `Recurrent`.
    """

    def __init__(self, input_size, hidden_size, num_layers=1, *, reset_after=True, **options):
        self.reset_after = bool(reset_after)
        cell = cells.GRU_RESET_AFTER if reset_after else cells.GRU_RESET_BEFORE
        super().__init__(cell, input_size, hidden_size, num_layers, **options)
