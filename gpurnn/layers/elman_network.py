"""Elman's network: recurrent hidden units and an output layer."""

from ..arrays import check_array, check_ends
from .activation import activated, activation_gradient, check_activation, zero_past_ends
from .assembly import Assembly
from .linear import Linear
from .networks import RNN

OUTPUTS = ("identity", "tanh", "sigmoid", "softmax")


class ElmanNetwork(Assembly):
    """The simple recurrent network of J. L. Elman, "Finding structure in time", 1990.

        h_t = f(W x_t + b + U h_{t-1} + b')      o_t = g(V h_t + c)

    Parameters
    ----------
    input_size, hidden_size, output_size : int
    nonlinearity : "tanh" or "relu"
        f.
    output : "identity", "tanh", "sigmoid" or "softmax"
        g; the softmax goes over the outputs of a step. Losses that take logits
        (`softmax_cross_entropy`, `sigmoid_cross_entropy`) want "identity".
    bias, batch_first, dtype, device, rng
        As in `Recurrent`.

    `params` and `grads` are those of an `RNN` and a `Linear`, named "recurrent.weight_ih_l0",
    "recurrent.weight_hh_l0", "recurrent.bias_ih_l0", "recurrent.bias_hh_l0", "output.weight" and
    "output.bias".
    """

    def __init__(
        self, input_size, hidden_size, output_size, *, nonlinearity="tanh", output="identity",
        bias=True, batch_first=False, dtype="float32", device="cpu", rng=None,
    ):  # fmt: skip
        super().__init__(dtype, device, rng)
        self.output = check_activation(output, "output", OUTPUTS)
        self.batch_first = bool(batch_first)
        common = {"bias": bias, "dtype": dtype, "device": device, "rng": self.rng}
        recurrent = RNN(
            input_size, hidden_size, nonlinearity=nonlinearity, batch_first=batch_first, **common
        )
        self._assemble(
            {"recurrent": recurrent, "output": Linear(hidden_size, output_size, **common)}
        )

    def __call__(self, x, state=None, lengths=None):
        """Run the sequences; keep nothing.

        Parameters
        ----------
        x : array (T, B, I), or (B, T, I) if `batch_first`
        state : array (1, B, H), the hidden units before the first step; None stands for zeros
        lengths : integers (B,), from 1 to T, in any order; None stands for T everywhere

        Returns
        -------
        y : array (T, B, O), or (B, T, O); zero past the sequences' ends
        state : array (1, B, H), after each sequence's last step

        Raises TypeError or ValueError as `Recurrent` does.
        """
        h, state = self._parts["recurrent"](x, state, lengths)
        y = activated(self, self.output, self._parts["output"](h))
        return self._cut(y, lengths), state

    def forward(self, x, state=None, lengths=None):
        """As calling the network; also returns ``backward(dy, dstate=None) -> dx, dstate``.

        `backward` takes the gradients by `y` and the final state, gives those by `x` and the
        initial state, and adds those by the parameters into `grads`.
        """
        h, state, recurrent_backward = self._parts["recurrent"].forward(x, state, lengths)
        a, linear_backward = self._parts["output"].forward(h)
        y = self._cut(activated(self, self.output, a), lengths)

        def backward(dy, dstate=None):
            dy = check_array(dy, "dy", self.device, self.dtype, y.shape)
            da = self._cut(activation_gradient(self, self.output, y, dy), lengths)
            return recurrent_backward(linear_backward(da), dstate)

        return y, state, backward

    def _cut(self, a, lengths):
        steps, batch = a.shape[:2][:: -1 if self.batch_first else 1]
        return zero_past_ends(a, check_ends(lengths, steps, batch), self.batch_first)
