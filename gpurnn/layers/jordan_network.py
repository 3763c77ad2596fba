"""Jordan's network: the output is fed back, through a context that decays."""

import math

from ..arrays import check_array, check_ends, check_size, module_of
from .activation import check_activation, zero_past_ends
from .elman_network import OUTPUTS
from .layer import Layer
from .sequences import SequenceLayer

NONLINEARITIES = ("tanh", "relu", "sigmoid")


class JordanNetwork(SequenceLayer, Layer):
    """The network of M. I. Jordan, "Attractor dynamics and parallelism in a connectionist
    sequential machine", 1986 (his state units are called the context here).

        s_t = decay s_{t-1} + y_{t-1}      h_t = f(W x_t + b + C s_t)      y_t = g(V h_t + c)

    Parameters
    ----------
    input_size, hidden_size, output_size : int
    nonlinearity : "tanh", "relu" or "sigmoid"
        f.
    output : "identity", "tanh", "sigmoid" or "softmax"
        g; the softmax goes over the outputs of a step.
    decay : float
        How much of the context is left after a step, from 0 (it is the last output) to 1.
    bias : bool
    batch_first : bool
        Sequences are (B, T, ...) instead of (T, B, ...).
    dtype : "float32" or "float64"
    device : "cpu" or "cuda"
    rng : None, int or numpy.random.Generator

    The parameters are `weight_ih` (H, I), `weight_ch` (H, O) from the context, `bias_h` (H,),
    `output.weight` (O, H) and `output.bias` (O,), at first uniform within ± 1 / sqrt(H).
    """

    def __init__(
        self, input_size, hidden_size, output_size, *, nonlinearity="tanh", output="identity",
        decay=0.5, bias=True, batch_first=False, dtype="float32", device="cpu", rng=None,
    ):  # fmt: skip
        super().__init__(dtype, device, rng)
        self.input_size = check_size(input_size, "input_size")
        self.hidden_size = check_size(hidden_size, "hidden_size")
        self.output_size = check_size(output_size, "output_size")
        self._kinds = (
            check_activation(nonlinearity, "nonlinearity", NONLINEARITIES),
            check_activation(output, "output", OUTPUTS),
        )
        if isinstance(decay, bool) or not isinstance(decay, (int, float)) or not 0 <= decay <= 1:
            raise ValueError(f"decay: expected a number from 0 to 1, got {decay!r}")
        self.decay, self.bias, self.batch_first = float(decay), bool(bias), bool(batch_first)
        hidden, bound = self.hidden_size, 1 / math.sqrt(self.hidden_size)
        shapes = {"weight_ih": (hidden, self.input_size), "weight_ch": (hidden, self.output_size)}
        shapes |= {"bias_h": (hidden,)} if self.bias else {}
        shapes |= {"output.weight": (self.output_size, hidden)}
        shapes |= {"output.bias": (self.output_size,)} if self.bias else {}
        for name, shape in shapes.items():
            self._add_parameter(name, self._uniform(shape, bound))

    def __call__(self, x, state=None, lengths=None):
        """Run the sequences.

        Parameters
        ----------
        x : array (T, B, I), or (B, T, I) if `batch_first`
        state : array (B, O), the context of the first step; None stands for zeros
        lengths : integers (B,), from 1 to T, in any order; None stands for T everywhere

        Returns
        -------
        y : array (T, B, O), or (B, T, O); zero past the sequences' ends
        state : array (B, O), the context after each sequence's last step

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong device, dtype or shape, T or B is 0, or a length is
            out of range.
        """
        y, state, _ = self.forward(x, state, lengths)
        return y, state

    def forward(self, x, state=None, lengths=None):
        """As calling the network; also returns ``backward(dy, dstate=None) -> dx, dstate``.

        `backward` takes the gradients by `y` and the final context, gives those by `x` and the
        first context, and adds those by the parameters into `grads`: back-propagation through
        time, the feedback included.
        """
        x = self._check_sequences(x, "x", self.input_size)
        (steps, batch), kernels, xp = x.shape[:2], self.kernels, module_of(self.device)
        lengths = check_ends(lengths, steps, batch)
        # What lies past the ends may be anything, NaN too, and meets zeros in products below.
        x = x if lengths is None else zero_past_ends(x.copy(), lengths, False)
        weights = {name: self._parameter(name) for name in self.params}
        shape = (batch, self.output_size)
        y = kernels.zeros((steps, *shape), self.dtype)
        context = kernels.zeros((steps + 1, *shape), self.dtype)
        if state is not None:
            context[0] = check_array(state, "state", self.device, self.dtype, shape)
        hidden = kernels.empty((steps, batch, self.hidden_size), self.dtype)
        kernels.linear_forward(_rows(x), weights["weight_ih"], weights.get("bias_h"), _rows(hidden))
        w_context, w_output = weights["weight_ch"], weights["output.weight"]
        kernels.jordan_forward(
            self._kinds, w_context, w_output, weights.get("output.bias"), self.decay, lengths,
            hidden, context, y,
        )  # fmt: skip
        ends = xp.asarray([steps] * batch if lengths is None else lengths)
        final = context[ends, xp.arange(batch)]

        def backward(dy, dstate=None):
            dy = self._check_sequences(dy, "dy", self.output_size, (steps, batch))
            doutput = zero_past_ends(dy.copy(), lengths, False)
            carry = xp.zeros(shape, self.dtype)
            if dstate is not None:
                carry[...] = check_array(dstate, "dstate", self.device, self.dtype, shape)
            dhidden = xp.zeros_like(hidden)
            kernels.jordan_backward(
                self._kinds, w_context, w_output, self.decay, lengths, hidden, y, doutput, dhidden,
                carry,
            )  # fmt: skip
            dx = kernels.empty(x.shape, x.dtype)
            products = (
                (hidden, w_output, doutput, "output.weight", "output.bias", xp.empty_like(hidden)),
                (context[:-1], w_context, dhidden, "weight_ch", None, xp.empty_like(y)),
                (x, weights["weight_ih"], dhidden, "weight_ih", "bias_h", dx),
            )
            for source, weight, gradient, name, bias, dsource in products:
                kernels.linear_backward(
                    _rows(source), weight, _rows(gradient), _rows(dsource),
                    self.grads[name], self.grads.get(bias),
                )  # fmt: skip
            return self._outward(dx), carry

        return self._outward(y), final, backward


def _rows(a):
    return a.reshape(-1, a.shape[-1])
