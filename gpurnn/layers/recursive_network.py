"""The recursive network: one layer of units, applied from the leaves of a tree to its root."""

from ..cells import TREE_RELU, TREE_TANH
from .activation import check_activation
from .tree_network import TreeNetwork

_CELLS = {"tanh": TREE_TANH, "relu": TREE_RELU}


class RecursiveNetwork(TreeNetwork):
    """The recursive network of R. Socher et al., "Parsing natural scenes and natural language with
    recursive neural networks", 2011 (its ancestor: J. B. Pollack, "Recursive distributed
    representations", 1990), whose nodes may have features of their own.

        h_j = f(W x_j + b + sum over the children k of U_k h_k)

    Parameters
    ----------
    input_size, hidden_size : int
    children : int
        How many children a node may have; each position has its own U_k.
    nonlinearity : "tanh" or "relu"
    bias : bool
    dtype : "float32" or "float64"
    device : "cpu" or "cuda"
    rng : None, int or numpy.random.Generator

    The parameters are `weight_ih` (H, I), `weight_hh` (H, children H), of which columns k H and
    on are U_k, and `bias` (H,), at first uniform within ± 1 / sqrt(H).
    """

    def __init__(
        self, input_size, hidden_size, children=2, nonlinearity="tanh", *, bias=True,
        dtype="float32", device="cpu", rng=None,
    ):  # fmt: skip
        check_activation(nonlinearity, "nonlinearity", tuple(_CELLS))
        children = 0 if children is None else children  # which the check of sizes refuses
        super().__init__(
            _CELLS[nonlinearity], input_size, hidden_size, children, bias=bias, dtype=dtype,
            device=device, rng=rng,
        )  # fmt: skip
        self.nonlinearity = nonlinearity
