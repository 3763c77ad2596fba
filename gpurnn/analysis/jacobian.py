"""The Jacobian of a recurrent step, and what its spectrum tells."""

from typing import NamedTuple

import numpy as np

from ..arrays import module_of, to_numpy
from .probe import parts_of, probe_of, sequences_of


def recurrent_jacobian(layer, x, state=None):
    """The derivative of the state after `x` by the state before it, exactly.

    Gradients on their way back are multiplied by these matrices, step by step: if all singular
    values stay below 1 they vanish, and if some eigenvalues stay above 1 they may explode
    (Bengio et al. 1994; Pascanu, Mikolov & Bengio 2013, "On the difficulty of training recurrent
    neural networks").

    Parameters
    ----------
    layer : Recurrent, of any cell and depth, in one direction and without noise
        Neither its parameters nor its `grads` are changed.
    x : array (T, 1, I), or (1, T, I) if the layer is `batch_first`
        One sequence. T = 1 gives the Jacobian of a step, T > 1 the product of those of T steps.
    state : the state before, as the layer takes it, of one sequence; None stands for zeros

    Returns
    -------
    jacobian : array (N, N) of the layer's dtype and device, N = S L H
        Entry (i, j) is the derivative of new unit i by old unit j, the units in the order
        (state, layer, unit): all layers' h, then for an LSTM all layers' c.

    Raises TypeError or ValueError if the layer is another one, or an argument does not fit.
    """
    probe, x = probe_of(layer), sequences_of(layer, x)
    if x.shape[1] != 1:
        raise ValueError(f"x: expected one sequence, got {x.shape[1]}")
    xp = module_of(layer.device)
    before = layer._check_state(state, "state", 1)
    states, layers, _, hidden = before.shape
    size = before.size
    # As many copies of the sequence as there are units; copy i asks for the gradient of unit i.
    asked = xp.eye(size, dtype=layer.dtype).reshape(size, states, layers, hidden)
    _, _, backward = probe.forward(
        xp.repeat(x, size, axis=1), _state_of(xp.repeat(before, size, axis=2))
    )
    dy = xp.zeros((len(x), size, hidden), layer.dtype)
    _, dbefore = backward(dy, _state_of(xp.ascontiguousarray(asked.transpose(1, 2, 0, 3))))
    rows = xp.stack(parts_of(dbefore)).transpose(2, 0, 1, 3)
    return xp.ascontiguousarray(rows).reshape(size, size)


def _state_of(parts):
    """(S, L, B, H) in the form layers take: h alone, or (h, c)."""
    return parts[0] if len(parts) == 1 else tuple(parts)


class Spectrum(NamedTuple):
    """eigenvalues: complex (N,), by falling modulus; singular_values: (N,), falling."""

    eigenvalues: np.ndarray
    singular_values: np.ndarray


def spectrum(jacobian):
    """The `Spectrum` of a square matrix (N, N) of finite numbers, computed in float64.

    Raises ValueError for another shape, or where a number is not finite.
    """
    matrix = to_numpy(jacobian).astype(np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"jacobian: expected (N, N), got {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ValueError("jacobian: expected finite numbers")
    eigenvalues = np.linalg.eigvals(matrix).astype(np.complex128)
    by_modulus = np.argsort(-np.abs(eigenvalues), kind="stable")
    return Spectrum(eigenvalues[by_modulus], np.linalg.svd(matrix, compute_uv=False))
