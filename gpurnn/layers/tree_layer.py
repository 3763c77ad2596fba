"""What networks over trees share: the way from nodes to levels and back."""

import math

from ..arrays import check_array, check_size, module_of
from ..trees import Trees
from .layer import Layer


class TreeLayer(Layer):
    """A network over trees with one of the `TreeCell`s.

    `children`: so many children of a node are seen side by side; None: their sum is.
    """

    def __init__(self, cell, input_size, hidden_size, children, bias, dtype, device, rng):
        super().__init__(dtype, device, rng)
        self.input_size = check_size(input_size, "input_size")
        self.hidden_size = check_size(hidden_size, "hidden_size")
        self.children = None if children is None else check_size(children, "children")
        self._cell, gated = cell, cell.forward_child is not None
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
        roots : array (R, H), or a pair (h, c) of them for a Tree-LSTM
            The states of `trees.roots`.

        Raises
        ------
        TypeError, ValueError
            If `trees` are none or have more children than the layer, or `x` has the wrong
            device, dtype or shape.
        """
        y, roots, _ = self.forward(x, trees)
        return y, roots

    def forward(self, x, trees):
        """As calling the layer; also returns ``backward(dy=None, droots=None) -> dx``.

        `backward` takes the gradients by `y` and by the roots' states, None standing for zeros,
        returns that by `x` and adds those by the parameters into `grads`.
        """
        if not isinstance(trees, Trees):
            raise TypeError(f"trees: expected Trees, got {type(trees).__name__}")
        if self.children is not None and trees.places > self.children:
            raise ValueError(
                f"trees: expected at most {self.children} children a node, got {trees.places}"
            )
        x = check_array(x, "x", self.device, self.dtype, (len(trees), self.input_size))
        run = _Run(self, x, trees)
        roots = tuple(state[run.levels.roots] for state in run.states)
        return run.y, roots[0] if len(roots) == 1 else roots, run.backward


class _Run:
    """One run forward, with what its way back needs; rows are in the order of `trees.order`."""

    def __init__(self, layer, x, trees):
        self._layer, self.levels = layer, trees.levels(layer.children, layer.device)
        kernels, cell, hidden = layer.kernels, layer._cell, layer.hidden_size
        xp, nodes, dtype = module_of(layer.device), len(trees), layer.dtype
        self._weights = {name: layer._parameter(name) for name in layer.params}
        self._weights.setdefault("weight_fh", xp.empty((0, 0), dtype))
        self._x = kernels.embedding_forward(x, self.levels.order)
        xg = xp.empty((nodes, layer._x_width), dtype)
        bias = self._weights.get("bias")
        kernels.linear_forward(self._x, self._weights["weight_ih"], bias, xg)
        self._gathered = xp.zeros((nodes, self._weights["weight_hh"].shape[1]), dtype)
        self._hg = xp.empty((nodes, cell.gates * hidden), dtype)
        self._hf = xp.empty((nodes, len(self._weights["weight_fh"])), dtype)
        self.states = xp.empty((cell.states, nodes, hidden), dtype)
        kernels.tree_forward(
            cell, self.levels, self._weights["weight_hh"], self._weights["weight_fh"], xg,
            self._gathered, self._hg, self._hf, self.states,
        )  # fmt: skip
        self.y = kernels.embedding_forward(self.states[0], self.levels.rank)

    def backward(self, dy=None, droots=None):
        layer, kernels, xp = self._layer, self._layer.kernels, module_of(self._layer.device)
        dxg = xp.empty((len(self._x), layer._x_width), layer.dtype)
        dhg, dhf = xp.empty_like(self._hg), xp.zeros_like(self._hf)
        kernels.tree_backward(
            layer._cell, self.levels, self._weights["weight_hh"], self._weights["weight_fh"],
            self._hg, self._hf, self.states, self._dstates(dy, droots), dxg, dhg, dhf,
        )  # fmt: skip
        dx = xp.empty_like(self._x)
        kernels.linear_backward(
            self._x, self._weights["weight_ih"], dxg, dx, layer.grads["weight_ih"],
            layer.grads.get("bias"),
        )  # fmt: skip
        self._add_hidden_gradients(dhg, dhf)
        return kernels.embedding_forward(dx, self.levels.rank)

    def _dstates(self, dy, droots):
        layer, xp = self._layer, module_of(self._layer.device)
        dstates = xp.zeros_like(self.states)
        if dy is not None:
            dy = check_array(dy, "dy", layer.device, layer.dtype, self.y.shape)
            dstates[0] = layer.kernels.embedding_forward(dy, self.levels.order)
        if droots is not None:
            droots = (droots,) if len(dstates) == 1 else tuple(droots)
            if len(droots) != len(dstates):
                raise ValueError(f"droots: expected {len(dstates)} arrays, got {len(droots)}")
            shape = (len(self.levels.roots), layer.hidden_size)
            for dstate, droot in zip(dstates, droots):
                droot = check_array(droot, "droots", layer.device, layer.dtype, shape)
                dstate[self.levels.roots] += droot
        return dstates

    def _add_hidden_gradients(self, dhg, dhf):
        """Products over all nodes; the leaves, which come first, have gathered nothing."""
        add, grads = self._layer.kernels.add_weight_gradient, self._layer.grads
        inner = slice(int(self.levels.bounds[1]), None)
        if not len(dhg[inner]):
            return
        add(self._gathered[inner], dhg[inner], grads["weight_hh"], None)
        if "weight_fh" in grads and self.levels.summed:
            add(self.states[0], dhf, grads["weight_fh"], None)
        elif "weight_fh" in grads:
            add(self._gathered[inner], dhf[inner], grads["weight_fh"], None)
