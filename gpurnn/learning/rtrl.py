"""Learning forward in time: exact real-time recurrent learning and its approximations."""

from ..arrays import check_array, check_rng, check_size, is_half, module_of
from ..kernels.influence import Columns, Local
from ..layers.recurrent import Recurrent
from ..layers.scans import ScanStack
from .influences import METHODS


class RTRL:
    """Runs a recurrent layer step by step and learns at every step, without a past to go back to.

    Beside the states it carries d state / d parameter forward (or an approximation of it): its
    memory does not grow with the number of steps, and a gradient is there as soon as a loss is.

    Parameters
    ----------
    layer : Recurrent
        `RNN`, `LSTM`, `GRU` or a layer of a cell of one's own, with one layer and one direction.
    batch_size : int
        B, sequences side by side.
    method : str
        With P = G H (I + H + 2) parameters, a sequence costs a step, in multiply-adds, about:

        - "exact", S H² P and memory S H P: R. J. Williams and D. Zipser, "A learning algorithm
          for continually running fully recurrent neural networks", 1989. As long as the
          parameters stay the same, the gradient is that of back-propagation through time.
        - "snap1", S² P and memory S P: the first sparse approximation of J. Menick et al., "A
          practical sparse approximation for real time recurrent learning", 2021: a parameter's
          influence is followed only on the unit in whose row it stands (all S states of it).
        - "rflo", as "snap1" without the recurrent weights at all: the eligibility traces of
          J. M. Murray, "Local online learning in recurrent networks with random feedback",
          2019, and of e-prop (G. Bellec et al., 2020). The error itself, dy, is the caller's.
        - "uoro", P and memory P: C. Tallec and Y. Ollivier, "Unbiased online recurrent
          optimization", 2018: the influence is followed as a random product of two vectors,
          whose expectation is the exact one.
    rng : None, int or numpy.random.Generator
        For "uoro"; None stands for the layer's own.

    The parameters may change after every step: then the influence is, as usual with RTRL, that
    of the parameters as they were in each step. A two-phase cell (`GRU(reset_after=False)`)
    has "exact" and "uoro": there each reset gate acts on all units at once, which the local
    methods would miss.

    Raises
    ------
    TypeError
        If `layer` is no recurrent layer.
    ValueError
        If it has float16 or bfloat16 parameters, several layers, directions or heads, weights of
        the cell's own (peepholes), zoneout or recurrent dropout; if the method is unknown or not of
        the cell.
    """

    def __init__(self, layer, batch_size, method="exact", *, rng=None):
        _check_layer(layer)
        if method not in METHODS:
            raise ValueError(f"method: expected one of {', '.join(METHODS)}, got {method!r}")
        cell = layer.cell
        if cell.late and (method in ("snap1", "rflo") or cell.states > 1):
            raise ValueError(
                f"method: expected 'exact' or 'uoro' for the two-phase cell {cell.name!r} of "
                f"one state, got {method!r} and {cell.states} states"
            )
        self.layer, self.method = layer, method
        self.batch_size = check_size(batch_size, "batch_size")
        self._device, xp = layer.device, module_of(layer.device)
        self._columns = Columns(cell, layer.input_size, layer.hidden_size, layer.bias)
        self._influence = METHODS[method](
            layer.kernels, xp, self._columns, self.batch_size, layer.dtype,
            layer.rng if rng is None else check_rng(rng),
        )  # fmt: skip
        self._local = Local.empty(
            xp, self._columns, self.batch_size, layer.dtype, self._influence.dense
        )
        shape = (cell.states, self.batch_size, layer.hidden_size)
        self._states = xp.zeros(shape, layer.dtype)

    @property
    def state(self):
        """A copy of the state, as the layer takes it: (1, B, H), or for an LSTM a pair of such."""
        return self.layer._state_of([self._states.copy()])

    def reset(self, state=None):
        """Begin anew, from `state` (as the layer takes it; None: zeros) and without influence."""
        self._check_device()
        self._states[...] = self.layer._check_state(state, "state", self.batch_size)[:, 0]
        self._influence.reset()

    def step(self, x):
        """One step: x (B, I) -> y (B, H), the new hidden states.

        Raises TypeError or ValueError if `x` has another device, dtype or shape, RuntimeError if
        the layer was moved to another device.
        """
        self._check_device()
        layer, shape = self.layer, (self.batch_size, self.layer.input_size)
        x = check_array(x, "x", self._device, layer.dtype, shape)
        weights = layer._weights(0, 0)
        new = module_of(self._device).empty_like(self._states)
        layer.kernels.local_step(layer.cell, weights, x, self._states, new, self._local)
        self._influence.propagate(self._local, weights[1])
        self._states = new
        return new[0].copy()

    def learn(self, dy):
        """Add into the layer's `grads` the gradient of a loss whose gradient by the last `y` is dy.

        dy (B, H). Raises as `step` does.
        """
        self._check_device()
        layer, shape = self.layer, (self.batch_size, self.layer.hidden_size)
        gradient = self._influence.gradient(check_array(dy, "dy", self._device, layer.dtype, shape))
        for kind, first in self._columns.first.items():
            total = layer.grads[f"{kind}_l0"]
            total += gradient[first : first + total.size].reshape(total.shape)

    def _check_device(self):
        if self.layer.device != self._device:
            raise RuntimeError(
                f"layer: expected on {self._device!r}, where this RTRL was made, "
                f"got {self.layer.device!r}: make a new one"
            )


def _check_layer(layer):
    if not isinstance(layer, Recurrent):
        raise TypeError(f"layer: expected a recurrent layer, got {type(layer).__name__}")
    if isinstance(layer, ScanStack):
        raise TypeError(f"layer: expected one with recurrent weights, got {type(layer).__name__}")
    if layer.proj_size:
        raise ValueError(f"layer: expected one without projection, got proj_size={layer.proj_size}")
    if is_half(layer.dtype):
        raise ValueError(f"layer: expected float32 or float64, got {layer.dtype}")
    if layer.num_layers > 1 or layer.bidirectional:
        raise ValueError(
            f"layer: expected one layer and one direction, got {layer.num_layers} layers"
            + (" in both directions" if layer.bidirectional else "")
        )
    if layer.num_heads > 1:
        raise ValueError(f"layer: expected one of one head, got {layer.num_heads}")
    if layer.cell.normalised:
        raise ValueError(f"layer: expected one without layer_norm, got {layer.cell.name!r}")
    if layer.cell.extras or layer.recurrent_dropout:
        raise ValueError(
            "layer: expected a cell without weights of its own, without zoneout and recurrent "
            f"dropout, got {layer.cell.name!r} with recurrent_dropout={layer.recurrent_dropout}"
        )
