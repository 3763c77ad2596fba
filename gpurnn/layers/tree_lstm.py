"""Long short-term memory over trees."""

from ..cells import TREE_LSTM
from .tree_network import TreeNetwork


class ChildSumTreeLSTM(TreeNetwork):
    """The child-sum Tree-LSTM of K. S. Tai, R. Socher and C. D. Manning, "Improved semantic
    representations from tree-structured long short-term memory networks", 2015, eqs. 2-8: for any
    number of children, in any order. With h~ their sum (g is the paper's u),

        i, o = sigmoid(W x_j + U h~ + b)      g = tanh(W x_j + U h~ + b)
        f_k = sigmoid(W_f x_j + U_f h_k + b_f)
        c_j = i g + sum over k of f_k c_k     h_j = o tanh(c_j)

    Parameters
    ----------
    input_size, hidden_size : int
    bias : bool
    dtype : "float32" or "float64"
    device : "cpu" or "cuda"
    rng : None, int or numpy.random.Generator

    The parameters are `weight_ih` (4 H, I) and `bias` (4 H,), of the gates i g o f; `weight_hh`
    (3 H, H), of i g o; `weight_fh` (H, H), U_f: at first uniform within ± 1 / sqrt(H).
    """

    def __init__(
        self, input_size, hidden_size, *, bias=True, dtype="float32", device="cpu", rng=None
    ):
        super().__init__(
            TREE_LSTM, input_size, hidden_size, bias=bias, dtype=dtype, device=device, rng=rng
        )


class TreeLSTM(TreeNetwork):
    """The N-ary Tree-LSTM of the same paper, eqs. 9-14: for children whose order matters. As
    `ChildSumTreeLSTM`, but with weights for each child, also of each child's forget gate:

        i, o = sigmoid(W x_j + sum over l of U_l h_l + b)     (g likewise)
        f_k = sigmoid(W_f x_j + sum over l of U_kl h_l + b_f)

    Parameters
    ----------
    input_size, hidden_size : int
    children : int
        How many children a node may have; a place left empty has the states 0.
    bias : bool
    dtype : "float32" or "float64"
    device : "cpu" or "cuda"
    rng : None, int or numpy.random.Generator

    The parameters are, with N children, `weight_ih` (4 H, I) and `bias` (4 H,), of the gates
    i g o f; `weight_hh` (3 H, N H), of i g o, with the columns of child l from l H on;
    `weight_fh` (N H, N H), U_kl in rows k H and columns l H and on: at first uniform within
    ± 1 / sqrt(H).
    """

    def __init__(
        self, input_size, hidden_size, children=2, *, bias=True, dtype="float32", device="cpu",
        rng=None,
    ):  # fmt: skip
        children = 0 if children is None else children  # which the check of sizes refuses
        super().__init__(
            TREE_LSTM, input_size, hidden_size, children, bias=bias, dtype=dtype, device=device,
            rng=rng,
        )  # fmt: skip
