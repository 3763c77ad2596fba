"""Networks over trees, for any cell: the way from nodes to levels and back."""

import math

from ..arrays import check_array, check_size, module_of
from ..cells import TreeCell
from ..trees import Trees
from .layer import Layer


class TreeNetwork(Layer):
    """What `RecursiveNetwork`, `ChildSumTreeLSTM` and `TreeLSTM` share; a network over trees of any
    `TreeCell`.

    Parameters
    ----------
    cell : TreeCell
    input_size, hidden_size : int
    children : int or None
        So many children a node may have, whose states stand side by side; a place left empty has
        zeros. None: any number, in any order, whose hidden states are added up.
    bias : bool
    dtype : "float32" or "float64"
    device : "cpu" or "cuda"
    rng : None, int or numpy.random.Generator

    The parameters, of a cell with G gates and K children (or a sum, then K = 1), are `weight_ih`
    (G H, I), `weight_hh` (G H, K H), which has the columns of child k from k H on, and `bias`
    (G H,). Where children have gates of their own, `weight_ih` and `bias` have H rows more, for
    these, and there is `weight_fh` (K H, K H): that of child k is in rows k H and on; of a sum it
    sees that child's hidden state alone. At first all are uniform within ± 1 / sqrt(H).

    Raises TypeError if `cell` is no `TreeCell`, ValueError if an option is out of range.
    """

    def __init__(
        self, cell, input_size, hidden_size, children=None, *, bias=True, dtype="float32",
        device="cpu", rng=None,
    ):  # fmt: skip
        super().__init__(dtype, device, rng)
        if not isinstance(cell, TreeCell):
            raise TypeError(f"cell: expected a TreeCell, got {type(cell).__name__}")
        self.input_size = check_size(input_size, "input_size")
        self.hidden_size = check_size(hidden_size, "hidden_size")
        self.children = None if children is None else check_size(children, "children")
        self.cell, gated = cell, cell.forward_child is not None
        hidden, seen = self.hidden_size, self.hidden_size * (self.children or 1)
        self._x_width = (cell.gates + gated) * hidden
        shapes = {
            "weight_ih": (self._x_width, self.input_size),
            "weight_hh": (cell.gates * hidden, seen),
        }
        shapes |= {"weight_fh": (seen, seen)} if gated else {}
        shapes |= {"bias": (self._x_width,)} if bias else {}
        for name, shape in shapes.items():
            self._add_parameter(name, self._uniform(shape, 1 / math.sqrt(hidden)))

    def __call__(self, x, trees):
        """Run the trees.

        Parameters
        ----------
        x : array (N, I)
            The features of each node; zeros for a node that has none.
        trees : Trees

        Returns
        -------
        y : array (N, H)
            The hidden state of each node.
        roots : array (R, H), or a pair (h, c) of them for a cell of two states
            The states of `trees.roots`.

        Raises
        ------
        TypeError, ValueError
            If `trees` are none or have more children than the layer, or `x` has the wrong
            device, dtype or shape.
        """
        run = _Run(self, *self._check_nodes(x, trees), keep=False)
        return run.y, run.roots

    def forward(self, x, trees):
        """As calling the layer; also returns ``backward(dy=None, droots=None) -> dx``.

        `backward` takes the gradients by `y` and by the roots' states, None standing for zeros,
        returns that by `x` and adds those by the parameters into `grads`.
        """
        run = _Run(self, *self._check_nodes(x, trees), keep=True)
        return run.y, run.roots, run.backward

    def _check_nodes(self, x, trees):
        if not isinstance(trees, Trees):
            raise TypeError(f"trees: expected Trees, got {type(trees).__name__}")
        if self.children is not None and trees.places > self.children:
            raise ValueError(
                f"trees: expected at most {self.children} children a node, got {trees.places}"
            )
        shape = len(trees), self.input_size
        return check_array(x, "x", self.device, self.dtype, shape), trees


class _Run:
    """One run forward, and if it is to `keep` what it needs, the way back.

    Rows are in the order of `trees.order`. `y` and `roots` are what the layer returns.
    """

    def __init__(self, layer, x, trees, keep):
        self._layer, self._levels = layer, trees.levels(layer.children, layer.device)
        kernels, xp, nodes = layer.kernels, module_of(layer.device), len(trees)
        self._weights = weights = {name: layer._parameter(name) for name in layer.params}
        weights.setdefault("weight_fh", xp.empty((0, 0), layer.dtype))
        seen, gates = weights["weight_hh"], weights["weight_fh"]
        x = kernels.embedding_forward(x, self._levels.order)
        xg = kernels.empty((nodes, layer._x_width), layer.dtype)
        kernels.linear_forward(x, weights["weight_ih"], weights.get("bias"), xg)
        widths = seen.shape[1], len(seen), len(gates)
        tape = tuple(kernels.empty((nodes, n), layer.dtype) for n in widths) if keep else None
        states = kernels.empty((layer.cell.states, nodes, layer.hidden_size), layer.dtype)
        kernels.tree_forward(layer.cell, self._levels, seen, gates, xg, states, tape)
        self._tape = (x, states, *tape) if keep else None
        self.y = kernels.embedding_forward(states[0], self._levels.rank)
        roots = tuple(state[self._levels.roots] for state in states)
        self.roots = roots[0] if len(roots) == 1 else roots

    def backward(self, dy=None, droots=None):
        layer, kernels, xp = self._layer, self._layer.kernels, module_of(self._layer.device)
        x, states, gathered, hg, hf = self._tape
        dxg = kernels.empty((len(x), layer._x_width), layer.dtype)
        dhg, dhf = kernels.empty(hg.shape, hg.dtype), xp.zeros_like(hf)
        kernels.tree_backward(
            layer.cell, self._levels, self._weights["weight_hh"], self._weights["weight_fh"], hg,
            hf, states, self._dstates(states, dy, droots), dxg, dhg, dhf,
        )  # fmt: skip
        dx = kernels.empty(x.shape, x.dtype)
        kernels.linear_backward(
            x, self._weights["weight_ih"], dxg, dx, layer.grads["weight_ih"],
            layer.grads.get("bias"),
        )  # fmt: skip
        self._add_hidden_gradients(gathered, states[0], dhg, dhf)
        return kernels.embedding_forward(dx, self._levels.rank)

    def _dstates(self, states, dy, droots):
        layer, levels = self._layer, self._levels
        dstates = module_of(layer.device).zeros_like(states)
        if dy is not None:
            dy = check_array(dy, "dy", layer.device, layer.dtype, self.y.shape)
            dstates[0] = layer.kernels.embedding_forward(dy, levels.order)
        if droots is not None:
            droots = (droots,) if len(dstates) == 1 else tuple(droots)
            if len(droots) != len(dstates):
                raise ValueError(f"droots: expected {len(dstates)} arrays, got {len(droots)}")
            shape = (len(levels.roots), layer.hidden_size)
            for dstate, droot in zip(dstates, droots):
                droot = check_array(droot, "droots", layer.device, layer.dtype, shape)
                dstate[levels.roots] += droot
        return dstates

    def _add_hidden_gradients(self, gathered, hidden, dhg, dhf):
        """Products over all nodes; the leaves, which come first, have gathered nothing."""
        add, grads = self._layer.kernels.add_weight_gradient, self._layer.grads
        inner = slice(int(self._levels.bounds[1]), None)
        if not len(dhg[inner]):
            return
        add(gathered[inner], dhg[inner], grads["weight_hh"], None)
        if "weight_fh" in grads and self._levels.summed:
            add(hidden, dhf, grads["weight_fh"], None)
        elif "weight_fh" in grads:
            add(gathered[inner], dhf[inner], grads["weight_fh"], None)
