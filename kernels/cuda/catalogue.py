"""Every CUDA kernel there is: for compiling them all where there is no GPU to run them."""

from .. import activations, loss_maps, maps
from . import attention, backward, ctc, elementwise, embedding, forward, losses

_MAPS = {  # function -> how many arrays, scalars and written arrays
    maps.adam_step: (4, 9, 3),
    maps.centered_rmsprop_momentum_step: (5, 6, 4),
    maps.centered_rmsprop_step: (4, 5, 3),
    maps.momentum_step: (3, 3, 2),
    maps.nesterov_step: (3, 3, 2),
    maps.rmsprop_momentum_step: (4, 6, 3),
    maps.rmsprop_step: (3, 5, 2),
    maps.scale: (1, 1, 1),
    maps.sgd_step: (2, 2, 1),
    loss_maps.sigmoid_cross_entropy: (4, 1, 2),
    loss_maps.squared_error: (4, 1, 2),
    **{function: (1, 0, 1) for function, _ in activations.MAPS.values()},
    **{gradient: (2, 0, 1) for _, gradient in activations.MAPS.values()},
}


def cell_kernels(cell, dtype):
    """All kernels of a cell."""
    two_phase = (
        forward.gate_step, forward.late_step,
        backward.late_backward_step, backward.gate_backward_step,
    )  # fmt: skip
    one_phase = (forward.forward_step, backward.backward_step)
    steps = (*(two_phase if cell.late else one_phase), backward.last_backward_step)
    return [step(cell, dtype) for step in steps]


def other_kernels(dtype):
    """All kernels that are of no cell."""
    return [
        elementwise.dropout_kernel(dtype),
        embedding.gather_kernel(dtype),
        embedding.add_kernel(dtype),
        losses.softmax_kernel(dtype),
        attention.softmax_kernel(dtype),
        attention.softmax_backward_kernel(dtype),
        attention.additive_kernel(dtype),
        attention.additive_query_kernel(dtype),
        attention.additive_keys_kernel(dtype),
        ctc.normaliser_kernel(dtype),
        ctc.forward_kernel(dtype),
        ctc.backward_kernel(dtype),
        ctc.gradient_kernel(dtype),
        *(elementwise.map_kernel(f, dtype, *counts) for f, counts in _MAPS.items()),
    ]
