"""Networks over trees in plain NumPy, node by node, as the papers' equations have them."""

import numpy as np


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def recursive(weights, activation, x, states):
    """h_j of R. Socher et al. 2011; `states` (children, H) are zeros where there is no child."""
    seen = weights["weight_hh"] @ states["h"].reshape(-1)
    return {"h": activation(weights["weight_ih"] @ x + weights["bias"] + seen)}


def _gates(weights, x, seen):
    """The sums of i, g, o with what they see of the children, and of f with the input alone."""
    i, g, o, f = np.split(weights["weight_ih"] @ x + weights["bias"], 4)
    i_h, g_h, o_h = np.split(weights["weight_hh"] @ seen, 3)
    return sigmoid(i + i_h), np.tanh(g + g_h), sigmoid(o + o_h), f


def child_sum_lstm(weights, x, states):
    """Tai et al. 2015, eqs. 2-8."""
    i, g, o, f_x = _gates(weights, x, states["h"].sum(0))
    c = i * g
    for h_k, c_k in zip(states["h"], states["c"]):
        c = c + sigmoid(f_x + weights["weight_fh"] @ h_k) * c_k
    return {"h": o * np.tanh(c), "c": c}


def nary_lstm(weights, x, states):
    """Tai et al. 2015, eqs. 9-14."""
    seen, units = states["h"].reshape(-1), states["h"].shape[1]
    i, g, o, f_x = _gates(weights, x, seen)
    c = i * g
    for k, c_k in enumerate(states["c"]):
        c = c + sigmoid(f_x + weights["weight_fh"][k * units : (k + 1) * units] @ seen) * c_k
    return {"h": o * np.tanh(c), "c": c}


def uneven(weights, x, states):
    """The cell that `test_tree_layers` makes up: for gates beside h, and gates from -1 to 1."""
    seen, units = states["h"].reshape(-1), states["h"].shape[1]
    a, b, f_x = np.split(weights["weight_ih"] @ x + weights["bias"], 3)
    c = sigmoid(a - weights["weight_hh"][:units] @ seen) + b
    for f_h, c_k in zip(np.split(weights["weight_fh"] @ seen, len(states["c"])), states["c"]):
        c = c + np.tanh(f_x + f_h) * c_k
    return {"h": np.tanh(c), "c": c}


def run(node_function, names, units, x, children):
    """The states of all nodes; children: for each node a list, -1 for an empty place."""
    results = {}

    def visit(node):
        below = [visit(child) if child >= 0 else None for child in children[node]]
        none = np.zeros(units)
        states = {
            name: np.array([b[name] if b else none for b in below]).reshape(-1, units)
            for name in names
        }
        results[node] = node_function(x[node], states)
        return results[node]

    has_parent = {child for row in children for child in row}
    for node in range(len(children)):
        if node not in has_parent:
            visit(node)
    return {name: np.array([results[n][name] for n in range(len(children))]) for name in names}
