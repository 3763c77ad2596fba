"""Every CUDA kernel there is: for compiling them all where there is no GPU to run them."""

from .. import activations, loss_maps, maps
from ..cells import qrnn, scans, sru
from . import (
    attention,
    backward,
    ctc,
    elementwise,
    embedding,
    forward,
    influence,
    jordan,
    losses,
    normalisation,
    online_step,
    preparing,
    projection,
    scan,
    trees,
)
from .choosing import MOST_LAYERS
from .device import working
from .persistent import backward_kernel, forward_kernel
from .persistent_tiles import tile_heights
from .product_kernel import ASYNCHRONOUS, product_kernel, sum_kernel, tilings

_RULES = {  # an optimizer's function -> how many arrays, scalars and written arrays
    maps.adam_step: (4, 9, 3),
    maps.centered_rmsprop_momentum_step: (5, 6, 4),
    maps.centered_rmsprop_step: (4, 5, 3),
    maps.momentum_step: (3, 3, 2),
    maps.nesterov_step: (3, 3, 2),
    maps.rmsprop_momentum_step: (4, 6, 3),
    maps.rmsprop_step: (3, 5, 2),
    maps.sgd_step: (2, 2, 1),
}
_MAPS = {  # likewise, of all functions
    **_RULES,
    maps.scale: (1, 1, 1),
    loss_maps.sigmoid_cross_entropy: (4, 1, 2),
    loss_maps.squared_error: (4, 1, 2),
    **{function: (1, 0, 1) for function, _ in activations.MAPS.values()},
    **{gradient: (2, 0, 1) for _, gradient in activations.MAPS.values()},
}
SCANS = [
    scans.GIVEN, scans.MIN_GRU, scans.MIN_LSTM, *qrnn.POOLINGS.values(), sru.SRU,
    sru.SRU_OF_PRODUCT, sru.SRU_PEEPHOLES, sru.SRU_PEEPHOLES_OF_PRODUCT,
]  # fmt: skip
_JORDAN = [("tanh", "softmax"), ("relu", "identity"), ("sigmoid", "tanh"), ("tanh", "sigmoid")]


def step_kernels(cell, dtype):
    """The stepwise kernels of a cell, which 16-bit numbers have too."""
    two_phase = (
        forward.gate_step, forward.late_step,
        backward.late_backward_step, backward.gate_backward_step,
    )  # fmt: skip
    one_phase = (forward.forward_step, backward.backward_step)
    steps = [step(cell, dtype) for step in (two_phase if cell.late else one_phase)]
    return [*steps, backward.last_backward_step(dtype)] + _product_kernels(cell, dtype)


def _product_kernels(cell, dtype):
    """Of a normalised cell, whose products are kernels of their own."""
    if not cell.normalised:
        return []
    early = normalisation.product_kernel(cell.gates - cell.late, dtype, working(dtype))
    late = [normalisation.product_kernel(cell.late, dtype, dtype)] if cell.late else []
    return [early, *late]


def cell_kernels(cell, dtype):
    """The stepwise kernels of a cell, and those that learn forward in time."""
    online = ()
    if not cell.extras and not cell.normalised:
        two_phase = (online_step.gate_kernel, online_step.late_kernel)
        online = two_phase if cell.late else (online_step.one_phase_kernel,)
    return step_kernels(cell, dtype) + [step(cell, dtype) for step in online]


def persistent_kernels(cell, dtype, capability):
    """The persistent kernels of a cell, of one layer and of several, for every height of tiles,
    where tf32 is allowed too."""
    if cell.normalised:  # which runs stepwise
        return []
    found = []
    for layers in range(1, (1 if cell.late else MOST_LAYERS) + 1):
        heights = {
            h
            for tf32 in (False, True)
            for h in tile_heights(dtype, capability, cell.late, tf32, layers)
        }
        kernels = (forward_kernel, backward_kernel)
        found += [kernel(cell, h, dtype, layers) for kernel in kernels for h in sorted(heights)]
    return found


def tree_kernels(cell, dtype):
    """The kernels of a tree's cell."""
    return [trees.forward_kernel(cell, dtype), trees.backward_kernel(cell, dtype)]


def product_kernels(dtype, capability):
    """The kernels of large products, for every layout of the factors that layers have."""
    asynchronous = capability >= ASYNCHRONOUS
    by_tensor_cores = [False, True] if dtype.itemsize == 4 else [dtype.itemsize == 2]
    return [
        product_kernel(dtype, *layouts, tensor, tiling, asynchronous)
        for tensor in (by_tensor_cores if asynchronous else [False])
        for tiling in tilings(dtype, tensor)
        for layouts in ((True, True), (True, False), (False, False))
    ]


def scan_kernels(cell, dtype):
    """The kernels of a light recurrence."""
    makers = (scan.forward_kernel, scan.backward_kernel)
    if cell.coefficients:
        makers += (scan.summary_kernel, scan.summary_back_kernel)
    return [make(cell, dtype) for make in makers]


def common_kernels(dtype):
    """Kernels of no cell which 16-bit numbers have too."""
    return [
        preparing.prepare_kernel(dtype),
        preparing.valid_kernel(dtype),
        sum_kernel(dtype),
        elementwise.dropout_kernel(dtype),
        elementwise.mask_kernel(dtype),
        elementwise.map_kernel(maps.scale, dtype, *_MAPS[maps.scale]),
        embedding.gather_kernel(dtype),
        embedding.add_kernel(dtype),
        losses.softmax_kernel(dtype),
        normalisation.inputs_kernel(dtype),
        normalisation.backward_kernel(dtype),
    ]


def half_kernels(dtype):
    """Kernels of no cell that 16-bit numbers have: an optimizer rounds its float32 to them."""
    masters = [
        elementwise.master_kernel(rule, dtype, written, scalars)
        for rule, (_, scalars, written) in _RULES.items()
    ]
    return common_kernels(dtype) + masters


def other_kernels(dtype):
    """All kernels that are of no cell, in float32 or float64."""
    return common_kernels(dtype) + [
        projection.project_step(dtype),
        projection.project_back_step(dtype),
        attention.softmax_kernel(dtype),
        attention.softmax_backward_kernel(dtype),
        attention.additive_kernel(dtype),
        attention.additive_query_kernel(dtype),
        attention.additive_keys_kernel(dtype),
        ctc.normaliser_kernel(dtype),
        ctc.forward_kernel(dtype),
        ctc.backward_kernel(dtype),
        ctc.gradient_kernel(dtype),
        online_step.combine_kernel(dtype),
        *(influence.own_kernel(states, dtype) for states in (1, 2)),
        influence.own_gradient_kernel(dtype),
        *(influence.full_kernel(*of, dtype) for of in ((1, False), (1, True), (2, False))),
        *(jordan.forward_kernel(*kinds, dtype) for kinds in _JORDAN),
        *(jordan.backward_kernel(*kinds, dtype) for kinds in _JORDAN),
        trees.gather_kernel(dtype),
        *(
            elementwise.map_kernel(function, dtype, *counts)
            for function, counts in _MAPS.items()
            if function is not maps.scale
        ),
    ]
