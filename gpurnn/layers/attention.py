"""Attention over the states of an encoder."""

import math
from functools import cached_property

from ..arrays import check_array, check_lengths, check_size, module_of
from .layer import Layer

KINDS = ("additive", "dot", "general")


class Attention(Layer):
    """Weighs the keys of each sequence by how they fit a query, and sums them up.

    Parameters
    ----------
    query_size, key_size : int
    kind : "additive", "dot" or "general"
        The score of a query q and a key k: v · tanh(W q + U k) (Bahdanau et al. 2015, appendix
        A.1.2), q · k, for which both sizes must be equal, or q · W k (Luong et al. 2015, eq. 8).
    attention_size : int
        Rows of W and U for "additive"; None stands for `query_size`.
    dtype : "float32" or "float64"
    device : "cpu" or "cuda"
    rng : None, int or numpy.random.Generator

    The parameters are, for "additive", `weight_query` (A, Q), `weight_key` (A, K) and
    `weight_score` (A,); for "general" `weight` (Q, K); for "dot" there are none. At first they are
    uniform within ± 1 / sqrt(their last size).
    """

    def __init__(
        self, query_size, key_size, *, kind="additive", attention_size=None, dtype="float32",
        device="cpu", rng=None,
    ):  # fmt: skip
        super().__init__(dtype, device, rng)
        self.query_size = check_size(query_size, "query_size")
        self.key_size = check_size(key_size, "key_size")
        if kind not in KINDS:
            raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
        if kind == "dot" and self.key_size != self.query_size:
            raise ValueError(
                f"key_size: expected query_size, {query_size}, for 'dot', got {key_size}"
            )
        if attention_size is not None and kind != "additive":
            raise ValueError(f"attention_size: expected None for {kind!r}, got {attention_size!r}")
        self.kind, shapes = kind, {}
        if kind == "additive":
            size = query_size if attention_size is None else attention_size
            self.attention_size = size = check_size(size, "attention_size")
            shapes["weight_query"] = (size, self.query_size)
            shapes["weight_key"] = (size, self.key_size)
            shapes["weight_score"] = (size,)
        elif kind == "general":
            shapes["weight"] = (self.query_size, self.key_size)
        for name, shape in shapes.items():
            self._add_parameter(name, self._uniform(shape, 1 / math.sqrt(shape[-1])))

    def remember(self, keys, lengths=None):
        """What `__call__` and `forward` take for keys that many queries will be asked of, one
        after another.

        Holds for the parameters as they are. Raises as `__call__`. It has a method ``backward()``
        of its own: see `forward`.
        """
        return _Memory(self, keys, lengths)

    def __call__(self, query, keys, lengths=None):
        """Attend to the keys.

        Parameters
        ----------
        query : array (Tq, B, Q), many steps at once, or (B, Q)
        keys : array (Tk, B, K), or what `remember` made of them and their lengths
        lengths : integers (B,), from 1 to Tk: how many keys each sequence has; None for Tk

        Returns
        -------
        context : array (Tq, B, K), or (B, K); the sums of the keys times their weights
        weights : array (Tq, B, Tk), or (B, Tk): of each query's keys, 1 in all; zero past the
            lengths, where keys may hold anything

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong device, dtype or shape, or a length is out of range.
        """
        return self._run(query, keys, lengths)[:2]

    def forward(self, query, keys, lengths=None):
        """As calling the layer, with the way back.

        Returns
        -------
        context, weights : as from a call
        backward : callable
            ``backward(dcontext, dweights=None) -> dquery, dkeys``, of the shapes of query and
            keys; adds the gradients by the parameters into `grads`. For keys from `remember`
            dkeys is None: once all queries have gone back, their `backward()` returns the sum,
            and what the keys have to add to `grads` is in it.
        """
        return self._run(query, keys, lengths)

    def _run(self, query, keys, lengths):
        memory = keys
        if not isinstance(keys, _Memory):
            memory = self.remember(keys, lengths)
        elif lengths is not None:
            raise ValueError("lengths: expected None with keys from `remember`, which has them")
        batch = memory.keys.shape[1]
        single = getattr(query, "ndim", 3) == 2
        lead = (batch,) if single else (None, batch)
        expected = f"({'' if single else 'Tq, '}{batch}, {self.query_size})"
        query = check_array(
            query, "query", self.device, self.dtype, (*lead, self.query_size), expected
        )
        query = query[None] if single else query
        if len(query) == 0:
            raise ValueError(f"query: expected at least one step, got {query.shape}")
        kernels = self.kernels
        projected = self._project(query)
        if self.kind == "additive":
            weight = self._parameter("weight_score")
            scores = kernels.additive_scores(projected, memory.projected, weight, memory.lengths)
        else:
            scores = kernels.dot_scores(projected, memory.keys, memory.lengths)
        kernels.attention_softmax(scores, memory.lengths)
        weights = scores
        context = kernels.weighted_sums(weights, memory.keys, memory.lengths)

        def backward(dcontext, dweights=None):
            dcontext = self._check_gradient(dcontext, "dcontext", context.shape, single)
            dscores = kernels.dot_scores(dcontext, memory.keys, memory.lengths)
            if dweights is not None:
                dscores += self._check_gradient(dweights, "dweights", weights.shape, single)
            kernels.attention_softmax_backward(weights, memory.lengths, dscores)
            kernels.add_weighted_steps(weights, dcontext, memory.lengths, memory.dkeys)
            dquery = self._scores_backward(query, projected, memory, dscores)
            dkeys = None if memory is keys else memory.backward()
            return dquery[0] if single else dquery, dkeys

        if single:
            return context[0], weights[0], backward
        return context, weights, backward

    def _project(self, query):
        """The query as the scores need it: times W, transposed for "general"."""
        if self.kind == "dot":
            return query
        if self.kind == "additive":
            return self._linear(query, self._parameter("weight_query"))
        weight = self._parameter("weight")
        return self._linear(query, module_of(self.device).ascontiguousarray(weight.T))

    def _linear(self, a, weight):
        y = self.kernels.empty((*a.shape[:2], len(weight)), self.dtype)
        rows = a.reshape(-1, a.shape[2])
        self.kernels.linear_forward(rows, weight, None, y.reshape(len(rows), -1))
        return y

    def _linear_backward(self, a, weight, dy, dweight):
        da = self.kernels.empty(a.shape, a.dtype)
        rows, drows = a.reshape(-1, a.shape[2]), dy.reshape(-1, dy.shape[2])
        self.kernels.linear_backward(rows, weight, drows, da.reshape(rows.shape), dweight, None)
        return da

    def _scores_backward(self, query, projected, memory, dscores):
        """The gradient by the query; adds those by the keys to `memory`, others to `grads`."""
        kernels, lengths = self.kernels, memory.lengths
        if self.kind == "additive":
            dprojected, dremembered, dweight = kernels.additive_scores_backward(
                projected, memory.projected, self._parameter("weight_score"), lengths, dscores
            )
            self.grads["weight_score"] += dweight
            memory.dprojected += dremembered
            weight, dweight = self._parameter("weight_query"), self.grads["weight_query"]
            return self._linear_backward(query, weight, dprojected, dweight)
        kernels.add_weighted_steps(dscores, projected, lengths, memory.dkeys)
        dprojected = kernels.weighted_sums(dscores, memory.keys, lengths)
        if self.kind == "dot":
            return dprojected
        weight = self._parameter("weight")
        dweight = module_of(self.device).zeros_like(weight.T, order="C")
        transposed = module_of(self.device).ascontiguousarray(weight.T)
        dquery = self._linear_backward(query, transposed, dprojected, dweight)
        self.grads["weight"] += dweight.T
        return dquery

    def _check_gradient(self, d, name, shape, single):
        d = check_array(d, name, self.device, self.dtype, shape[1:] if single else shape)
        return d[None] if single else d


class _Memory:
    """Keys with their lengths and what an additive attention makes of them once for all, and the
    gradients by both, which queries that go back add to."""

    def __init__(self, attention, keys, lengths):
        device, xp = attention.device, module_of(attention.device)
        self._attention = attention
        size = attention.key_size
        keys = check_array(
            keys, "keys", device, attention.dtype, (None, None, size), ("Tk", "B", size)
        )
        most, batch = keys.shape[:2]
        if not most or not batch:
            raise ValueError(f"keys: expected at least one step and one sequence, got {keys.shape}")
        every = [most] * batch if lengths is None else lengths
        limits = check_lengths(every, "lengths", batch, 1, most)
        self.lengths = xp.asarray(limits)
        if (limits < most).any():
            # Padding may hold anything, NaN included, which 0 times would not take out.
            keys = keys.copy()
            keys[xp.arange(most)[:, None] >= self.lengths] = 0
        self.keys, self.projected = keys, None
        if attention.kind == "additive":
            self.projected = attention._linear(keys, attention._parameter("weight_key"))

    @cached_property
    def dkeys(self):
        """That by the keys, but for what comes through `projected`."""
        return module_of(self._attention.device).zeros_like(self.keys)

    @cached_property
    def dprojected(self):
        """That by `projected`."""
        return module_of(self._attention.device).zeros_like(self.projected)

    def backward(self):
        """The gradient by the keys of all queries that have gone back since the last call."""
        dkeys, layer = self.dkeys, self._attention
        del self.dkeys
        if self.projected is not None:
            weight, dweight = layer._parameter("weight_key"), layer.grads["weight_key"]
            dkeys += layer._linear_backward(self.keys, weight, self.dprojected, dweight)
            del self.dprojected
        return dkeys
