"""The large products that follow the time loop backward."""

import numpy as np

from .few_rows import are_few, backward_of_few
from .gradients import DEPTH
from .threads import run_parallel, shared, shares
from .weight_gradients import back_through_products

MOST_BYTES_APIECE = 1 << 19  # of weights' gradients that a thread may have for itself
MOST_ROWS_UNPACKED = 512  # for which weights are packed as they are used, and once only


class ProductsOfAllSteps:
    """Those of all steps' gates' gradients with weights, inputs and hidden states, of one cell."""

    def __init__(self, cell, order):
        self._order, self._gates = order, cell.gates
        self._early, self._apart = cell.gates - cell.late, cell.apart or cell.normalised
        self._nothing = np.empty(0, order.dtype)

    def back(self, dxg, dhg, valid, x, met, gated, w_ih, grads, dx, resume):
        """Write dx (T, B, I), or add into it if `resume`; add into grads.

        Of dxg and dhg (T, B, G, H'), of x and of what the recurrent product `met`, rows (t, b)
        count that are numbered by `valid`. grads: (dw_ih, dw_hh, db_ih or None, db_hh).
        """
        dw_ih, dw_hh, *biases = grads
        if biases[0] is None:
            biases = self._nothing, self._nothing
        sums = dw_ih, dw_hh, *biases
        if are_few(valid.size, dw_ih.size + dw_hh.size):
            backward_of_few(
                dxg, dhg, valid, x, met, gated, self._early, w_ih, *sums, dx, resume
            )  # fmt: skip
            return
        hidden, (inputs, panel) = len(dw_ih) // self._gates, (x.shape[2], self._order.panel_width)
        threads = shares(2 * valid.size * (2 * dw_ih.size + dw_hh.size))
        rows = shared(valid.size, threads)
        # Small weights: each thread has rows, and sums of its own, so that all that is done with a
        # row's gradients happens while they are in the cache. Of large ones it has some units.
        by_rows = valid.size >= threads * DEPTH and sum(s.nbytes for s in sums) <= MOST_BYTES_APIECE
        packed = by_rows or valid.size > MOST_ROWS_UNPACKED
        wx = self._order.input_panels_back(w_ih) if packed else self._order.no_panels
        columns = [
            (first * panel, min(last * panel, inputs))
            for first, last in shared(-(-inputs // panel), threads)
        ]
        if by_rows:
            units = [(0, hidden)] * threads
            others = [[np.zeros_like(total) for total in sums] for _ in range(threads - 1)]
        else:
            units, others = shared(hidden, threads), [sums] * (threads - 1)
        run_parallel(
            back_through_products,
            [
                (
                    dxg, dhg, self._apart, valid, some, by_rows, units_of, columns_of, self._early,
                    x, met, gated, wx, *self._order.input_rows(w_ih), dx, resume, *to,
                )
                for some, units_of, columns_of, to in zip(rows, units, columns, [sums, *others])
            ],
        )  # fmt: skip
        if by_rows:
            for parts in others:
                for total, part in zip(sums, parts):
                    total += part
