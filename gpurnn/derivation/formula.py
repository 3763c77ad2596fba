"""A cell's way forward as a graph."""

from .graph import Graph
from .symbols import Symbol
from .tracing import Trace, node_of, nodes_of


class Formula:
    """The graph of a cell's way forward.

    Attributes
    ----------
    early, late : pairs of lists, the nodes of x and h of the early gates (of a cell of one
        phase none) and of the late ones (of a cell of one phase all)
    state, extra, new, kept : lists of nodes; `gated` : a node or None
    labels : what the formula calls its numbers
    """

    def __init__(self, early, late, states, extras=0):
        self.graph, self.labels = Graph(), {}
        self.early, self.late = (
            tuple(self.leaves(f"{phase} {side}", number) for side in "xh")
            for phase, number in (("early", early), ("late", late))
        )
        self.state, self.extra = self.leaves("state", states), self.leaves("extra", extras)
        self.new, self.kept, self.gated = [], [], None

    def leaves(self, name, number):
        """Nodes that are given."""
        return [self.graph.leaf(f"{name}[{i}]") for i in range(number)]

    def run(self, forward, gate=None):
        """Trace both phases; ValueError if a second run gives something else."""
        self._trace(forward, gate)
        first = self.new, self.kept, self.gated
        self._trace(forward, gate)
        if first != (self.new, self.kept, self.gated):
            raise ValueError(
                "forward: expected a pure function, got another result the second time"
            )

    def _trace(self, forward, gate):
        x, h, state = (self._symbols(nodes) for nodes in (*self.late, self.state))
        kept, extra = (), (self._symbols(self.extra),) if self.extra else ()
        if gate is not None:
            early = [self._symbols(nodes) for nodes in self.early]
            trace = Trace(gate, (*early, state, *extra), "gate")
            if not isinstance(trace.results, tuple) or len(trace.results) != 2:
                raise ValueError(f"gate: expected (gated, kept), got {trace.results!r}")
            gated, kept = trace.results
            self.gated = node_of(gated, "gate, gated", x[0])
            number = len(kept) if isinstance(kept, (tuple, list)) else 1
            self.kept = nodes_of(kept, number, "gate, kept", x[0])
            kept = (self._symbols(self.kept),)
            self.labels |= trace.labels
        trace = Trace(forward, (x, h, state, *kept, *extra), "forward")
        self.new = nodes_of(trace.results, len(state), "forward", x[0])
        self.labels = trace.labels | self.labels

    def _symbols(self, nodes):
        return tuple(Symbol(self.graph, node) for node in nodes)
