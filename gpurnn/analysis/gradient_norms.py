"""How much of the gradient comes back from the end of a sequence to each state before it."""

import numpy as np

from ..arrays import check_array, module_of, to_numpy
from .probe import parts_of, probe_of, sequences_of


def gradient_norms(layer, x, dy=None, state=None):
    """The norm of dL/ds by lag, for a loss L that sees the last output alone.

    What a network can learn to keep over k steps, it learns by this gradient: where it vanishes
    as k grows, the network cannot find what mattered then (Hochreiter 1991; Bengio, Simard &
    Frasconi 1994, "Learning long-term dependencies with gradient descent is difficult").
    The gradients are exact: the layer's own backward, a step at a time.

    Parameters
    ----------
    layer : Recurrent, of any cell and depth, in one direction and without noise
        Neither its parameters nor its `grads` are changed.
    x : array (T, B, I), or (B, T, I) if the layer is `batch_first`
    dy : array (B, H)
        dL by the last output; None stands for 1 / sqrt(H) everywhere, whose norm is 1.
    state : the initial state, as the layer takes it; None stands for zeros

    Returns
    -------
    norms : NumPy array (T + 1, B) of float64
        Row k: the Euclidean norm, for each sequence, of dL by the state k steps before the end:
        the hidden states of all layers, an LSTM's c among them. Row 0 is that of `dy`, row T
        that of the gradient by the initial state.

    Raises TypeError or ValueError if the layer is another one, or an argument does not fit.
    """
    probe, x = probe_of(layer), sequences_of(layer, x)
    steps, batch = x.shape[:2]
    shape, xp = (batch, layer.hidden_size), module_of(layer.device)
    if dy is None:
        dy = xp.full(shape, layer.hidden_size**-0.5, layer.dtype)
    dy = check_array(dy, "dy", layer.device, layer.dtype, shape)[None]
    norms = np.empty((steps + 1, batch))
    norms[0] = np.linalg.norm(to_numpy(dy[0]).astype(np.float64), axis=-1)
    tape = []
    for t in range(steps):
        _, state, backward = probe.forward(x[t : t + 1], state)
        tape.append(backward)
    dstate = None
    for lag, backward in enumerate(reversed(tape), 1):
        _, dstate = backward(dy, dstate)
        dy = xp.zeros_like(dy)
        norms[lag] = _norms(dstate)
    return norms


def _norms(dstate):
    """Of each sequence, over layers, units and the cell's states: (B,)."""
    parts = np.stack([to_numpy(part) for part in parts_of(dstate)]).astype(np.float64)
    return np.sqrt(np.sum(parts**2, axis=(0, 1, 3)))
