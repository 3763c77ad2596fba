"""A small network computed by hand: every number of the forward pass and of its gradients.

The arithmetic is plain NumPy, a step at a time, in the order in which one would do it on paper.
The network is Elman's with 2 inputs, 2 hidden units and 1 output, over three steps:

    a_t = W x_t + U h_{t-1} + b    h_t = tanh(a_t)    y_t = V h_t + c    L = sum of (y_t - d_t)² / 2
"""

from types import SimpleNamespace

import numpy as np

NETWORK = SimpleNamespace(
    W=np.array([[0.5, -0.3], [0.2, 0.4]]),
    U=np.array([[0.4, 0.1], [-0.2, 0.3]]),
    b=np.array([0.1, -0.1]),
    V=np.array([[0.6, -0.5]]),
    c=np.array([0.05]),
)
INPUTS = np.array([[1.0, 0.5], [-0.5, 1.0], [0.25, -1.0]])
TARGETS = np.array([[0.5], [-0.25], [0.1]])


def forward(network, inputs, targets):
    """The quantities of each step, and the loss."""
    steps, h, loss = [], np.zeros(2), 0.0
    for x, d in zip(inputs, targets):
        step = SimpleNamespace(x=x, h_before=h, d=d)
        step.Wx = network.W @ x
        step.Uh = network.U @ h
        step.a = step.Wx + step.Uh + network.b
        step.h = np.tanh(step.a)
        step.y = network.V @ step.h + network.c
        step.error = step.y - d
        step.loss = float(step.error @ step.error) / 2
        steps.append(step)
        h, loss = step.h, loss + step.loss
    return steps, loss


def backward(network, steps):
    """Adds to each step its gradients, the last step first; returns their sums over the steps."""
    from_later = np.zeros(2)  # the gradient by h_t that comes through step t + 1
    for step in reversed(steps):
        step.dy = step.error
        step.from_output = network.V.T @ step.dy
        step.from_later = from_later
        step.dh = step.from_output + from_later
        step.slope = 1 - step.h**2
        step.da = step.dh * step.slope
        step.dW = np.outer(step.da, step.x)
        step.dU = np.outer(step.da, step.h_before)
        step.db = step.da
        step.dV = np.outer(step.dy, step.h)
        step.dc = step.dy
        from_later = network.U.T @ step.da
    return SimpleNamespace(
        **{name: sum(getattr(step, f"d{name}") for step in steps) for name in "WUbVc"},
        h=from_later,
    )


def layer_gradients(network, inputs, targets):
    """The same loss and gradients from `gpurnn.ElmanNetwork`."""
    from gpurnn.layers import ElmanNetwork

    layer = ElmanNetwork(2, 2, 1, dtype="float64")
    layer.load_state_dict(
        {
            "recurrent.weight_ih_l0": network.W,
            "recurrent.weight_hh_l0": network.U,
            "recurrent.bias_ih_l0": network.b,
            "recurrent.bias_hh_l0": np.zeros(2),
            "output.weight": network.V,
            "output.bias": network.c,
        }
    )
    y, _, back = layer.forward(inputs[:, None])
    error = y[:, 0] - targets
    _, dstate = back(error[:, None])
    names = {"W": "recurrent.weight_ih_l0", "U": "recurrent.weight_hh_l0"}
    names |= {"b": "recurrent.bias_ih_l0", "V": "output.weight", "c": "output.bias"}
    gradients = {name: layer.grads[theirs] for name, theirs in names.items()}
    return float(np.sum(error**2) / 2), SimpleNamespace(**gradients, h=dstate[0, 0])


def difference_quotient(network, inputs, targets, name, index, step=1e-6):
    """The slope of the loss between two values of one parameter, a step to each side."""
    losses = []
    for sign in (1, -1):
        moved = SimpleNamespace(**{key: value.copy() for key, value in vars(network).items()})
        getattr(moved, name)[index] += sign * step
        losses.append(forward(moved, inputs, targets)[1])
    return (losses[0] - losses[1]) / (2 * step)


def _table(names, rows, digits, label="t"):
    """Aligned columns under their names; the first is a label."""
    cells = [[str(row[0]), *(f"{n + 0.0:+.{digits}f}" for n in row[1:])] for row in rows]
    width = max(digits + 5, *(len(name) + 2 for name in names))
    lines = [f"{label:<6}" + "".join(f"{name:>{width}}" for name in names)]
    lines += [f"{row[0]:<6}" + "".join(f"{n:>{width}}" for n in row[1:]) for row in cells]
    return "\n".join(lines)


def _numbered(*letters):
    """x -> x1 x2; a letter with "'" is a single number."""
    return [n for letter in letters for n in
            ([letter[:-1]] if letter.endswith("'") else [f"{letter}1", f"{letter}2"])]  # fmt: skip


def _by_step(steps, *quantities, digits):
    """A table of quantities, (name as `_numbered` takes it, attribute), a row a step."""
    rows = [
        [t, *np.concatenate([np.atleast_1d(getattr(step, key)) for _, key in quantities])]
        for t, step in steps
    ]
    return _table(_numbered(*(name for name, _ in quantities)), rows, digits)


def _gradient_table(steps, totals, digits):
    kinds = ("W", "U", "b", "V", "c")
    names = ["dW11", "dW12", "dW21", "dW22", "dU11", "dU12", "dU21", "dU22"]
    names += ["db1", "db2", "dV11", "dV12", "dc"]
    rows = [
        [t, *np.concatenate([getattr(step, f"d{k}").ravel() for k in kinds])] for t, step in steps
    ]
    rows.append(["sum", *np.concatenate([getattr(totals, k).ravel() for k in kinds])])
    parts = (slice(0, 4), slice(4, 8), slice(8, 13))
    return "\n\n".join(
        _table(names[part], [[row[0], *row[1:][part]] for row in rows], digits) for part in parts
    )


def _concatenation(network, steps, digits):
    """[x, h] @ [W; U] beside x @ W + h @ U, as rows: the greatest difference and the table."""
    kernel = np.concatenate([network.W.T, network.U.T])
    rows = []
    for t, step in steps:
        together = np.concatenate([step.x, step.h_before]) @ kernel
        apart = step.x @ network.W.T + step.h_before @ network.U.T
        rows.append([t, *together, *apart])
    largest = max(np.max(np.abs(np.subtract(row[1:3], row[3:5]))) for row in rows)
    names = _numbered("[x,h]K ", "xW+hU ")
    return largest, _table(names, rows, digits), kernel


def describe(digits=6):
    """The whole walk as text. ArithmeticError if the layer disagrees with the plain arithmetic."""
    steps, loss = forward(NETWORK, INPUTS, TARGETS)
    totals = backward(NETWORK, steps)
    layer_loss, layer_totals = layer_gradients(NETWORK, INPUTS, TARGETS)
    disagreement = max(
        np.max(np.abs(getattr(totals, key) - getattr(layer_totals, key))) for key in vars(totals)
    )
    disagreement = max(disagreement, abs(loss - layer_loss))
    if not disagreement < 1e-12:
        raise ArithmeticError(f"the layer's gradients differ by {disagreement:.3g}")
    numbered = list(enumerate(steps, 1))
    quotient = difference_quotient(NETWORK, INPUTS, TARGETS, "U", (0, 1))
    gap, concatenated, kernel = _concatenation(NETWORK, numbered, digits)
    parameters = "\n".join(f"  {k} = {v.tolist()}" for k, v in vars(NETWORK).items())

    def table(*quantities, backwards=False):
        return _by_step(numbered[::-1] if backwards else numbered, *quantities, digits=digits)

    return f"""\
An Elman network by hand: 2 inputs, 2 hidden units, 1 output, 3 steps

  a_t = W x_t + U h_(t-1) + b     h_t = tanh(a_t)     y_t = V h_t + c
  L = sum over t of (y_t - d_t)² / 2,     h_0 = 0

{parameters}

1. Forward: the hidden units
   Uh is U times the h of the step before, a = Wx + Uh + b, h = tanh(a)

{table(("x", "x"), ("Wx ", "Wx"), ("Uh ", "Uh"))}

{table(("a", "a"), ("h", "h"))}

2. Forward: the output y = V h + c, what it should be, and the loss (y - d)² / 2

{table(("y'", "y"), ("d'", "d"), ("y-d'", "error"), ("loss'", "loss"))}

L = {loss:.{digits}f}

3. Backward, the last step first: what the loss changes by when a quantity changes by 1
   dy = y - d;  dh = Vᵀ dy + Uᵀ da+, with da+ of the step after;  da = dh (1 - h²)

{table(("dy'", "dy"), ("Vᵀdy ", "from_output"), ("Uᵀda+ ", "from_later"), backwards=True)}

{table(("dh", "dh"), ("1-h² ", "slope"), ("da", "da"), backwards=True)}

dL/dh_0 = Uᵀ da_1 = {totals.h[0]:+.{digits}f} {totals.h[1]:+.{digits}f}

4. Gradients by the parameters: each step's part, and their sum
   dW = da xᵀ;  dU = da h_(t-1)ᵀ;  db = da;  dV = dy hᵀ;  dc = dy

{_gradient_table(numbered, totals, digits)}

5. Checks
   gpurnn.ElmanNetwork, its kernels and its backward pass: largest difference {disagreement:.1e}
   dL/dU12 from the loss alone, U12 moved by ± 1e-6: {quotient:+.{digits}f}
   (above: {totals.U[0, 1]:+.{digits}f})

6. One matrix or two
   TensorFlow's BasicRNNCell multiplies [x, h] by one kernel K, W above U (as it writes them,
   transposed). A row times a column of K is a sum over x's part and h's part, so that
   [x, h] @ [W; U] = x @ W + h @ U:

   K = {np.array2string(kernel, prefix="   K = ")}

{concatenated}

   largest difference {gap:.1e}"""
