"""How each method of RTRL carries the influence of the parameters from step to step."""

_EPSILON = 1e-7  # of UORO's algorithm 1, where norms would be divided by 0


class Exact:
    """The whole influence."""

    dense = True

    def __init__(self, kernels, xp, columns, batch, dtype, rng):
        self._kernels, self._cell = kernels, columns.cell
        self._influence = kernels.FullInfluence(columns, batch, dtype)
        self.reset, self.gradient = self._influence.reset, self._influence.gradient

    def propagate(self, local, w_hh):
        """Go on by the step that `local` describes."""
        self._kernels.transition(self._cell, w_hh, local)
        self._influence.propagate(local)


class OwnUnit:
    """The influence on a parameter's own unit, without any recurrent weight: RFLO, e-prop."""

    dense = False

    def __init__(self, kernels, xp, columns, batch, dtype, rng):
        self._columns = columns
        self._influence = kernels.OwnInfluence(columns, columns.cell.states, batch, dtype)
        self.reset, self.gradient = self._influence.reset, self._influence.gradient

    def propagate(self, local, w_hh):
        """Go on by the step that `local` describes."""
        self._influence.propagate(local.by_state, local.coefficients, local.sources)


class OwnUnitAndWeight(OwnUnit):
    """As `OwnUnit`, with each unit's recurrent weight to itself: SnAp-1."""

    def propagate(self, local, w_hh):
        """Go on by the step that `local` describes."""
        gates, hidden = self._columns.cell.gates, self._columns.hidden
        to_itself = w_hh.reshape(gates, hidden, hidden).diagonal(axis1=1, axis2=2)
        local.by_state[:, :, 0] += (local.coefficients[:, :, -1] * to_itself).sum(2)
        super().propagate(local, w_hh)


class RandomProduct:
    """UORO: the influence is the expectation of `states` times `parameters`.

    Per sequence, with random signs nu, the transition F and the immediate influence I:
    states <- rho0 F states + rho1 nu, parameters <- parameters / rho0 + nu I / rho1, where
    rho0 and rho1 balance the two norms of each sum (Tallec & Ollivier 2018, algorithm 1).
    """

    dense = True

    def __init__(self, kernels, xp, columns, batch, dtype, rng):
        self._kernels, self._xp, self._columns, self._rng = kernels, xp, columns, rng
        self._states = xp.zeros((columns.cell.states, batch, columns.hidden), dtype)
        self._parameters = kernels.OwnInfluence(columns, 1, batch, dtype)

    def reset(self):
        """No parameter has had any influence yet."""
        self._states.fill(0)
        self._parameters.reset()

    def propagate(self, local, w_hh):
        """Go on by the step that `local` describes."""
        self._kernels.transition(self._columns.cell, w_hh, local)
        pushed, signs = self._pushed(local), self._signs()
        coefficients = self._immediate(local, signs)
        rho0 = self._balance(self._norm(self._parameters.values[0]), self._norm(pushed, (0, 2)))
        rho1 = self._balance(self._immediate_norm(local, coefficients), self._norm(signs, (1, 2)))
        self._states = rho0[:, None] * pushed + rho1[:, None] * signs.swapaxes(0, 1)
        batch, hidden = len(rho0), self._columns.hidden
        kept = self._xp.empty((batch, 1, 1, hidden), rho0.dtype)
        kept[...] = (1 / rho0)[:, None, None, None]
        coefficients /= rho1[:, None, None, None, None]
        self._parameters.propagate(kept, coefficients, local.sources)

    def gradient(self, dy):
        """An unbiased estimate of the gradient by each column, from that by the states, dy."""
        along = (dy * self._states[0]).sum(1)
        return self._parameters.gradient(self._xp.repeat(along, dy.shape[1]).reshape(dy.shape))

    def _pushed(self, local):
        """F times the states' vector: (S, B, H)."""
        pushed = self._xp.matmul(local.transition, self._states[0][:, :, None])[..., 0]
        for other in range(1, len(self._states)):
            pushed += local.by_state[:, :, other].swapaxes(0, 1) * self._states[other]
        return pushed

    def _signs(self):
        """nu: (B, S, H), each number 1 or -1."""
        states, batch, hidden = self._states.shape
        signs = self._rng.integers(0, 2, (batch, states, hidden)) * 2 - 1
        return self._xp.asarray(signs, self._states.dtype)

    def _immediate(self, local, signs):
        """nu I as coefficients of the sources: (B, 1, K, G, H)."""
        cell = self._columns.cell
        coefficients = (local.coefficients * signs[:, :, None, None]).sum(1, keepdims=True)
        if cell.late:
            through = self._xp.matmul(signs, local.through)
            coefficients[:, 0, 0, : cell.gates - cell.late] += local.gated_by * through
        return coefficients

    def _immediate_norm(self, local, coefficients):
        """The norm of nu I: (B,)."""
        early = self._columns.cell.gates - self._columns.cell.late
        squares, sources = (coefficients[:, 0] ** 2).sum(3), local.sources**2
        total = 0
        for _, width, part, source, late_source in self._columns.segments:
            early_part, late_part = squares[:, part, :early].sum(1), squares[:, part, early:].sum(1)
            total = total + early_part * sources[:, source : source + width].sum(1)
            total = total + late_part * sources[:, late_source : late_source + width].sum(1)
        return self._xp.sqrt(total)

    def _norm(self, values, axes=1):
        return self._xp.sqrt((values**2).sum(axes))

    def _balance(self, by_parameters, by_states):
        return self._xp.sqrt(by_parameters / (by_states + _EPSILON)) + _EPSILON


METHODS = {
    "exact": Exact,
    "snap1": OwnUnitAndWeight,
    "rflo": OwnUnit,
    "uoro": RandomProduct,
}
"""What `RTRL` can be asked for."""
