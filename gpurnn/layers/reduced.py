"""Layers with weights in fewer bits, for inference on the CPU."""

from ..kernels.cpu.reduced import KINDS, reduce_weights
from .inference_copy import InferenceCopy


class ReducedRecurrent(InferenceCopy):
    """A recurrent layer's copy for inference, its weights in bfloat16 or int8; `layer.reduced()`.

    With one or few sequences a step waits for the weights to come from the caches or the
    memory, and half or a quarter of the bytes come in less time. Biases, peepholes, states and
    sums stay float32. A processor that multiplies 16-bit numbers (AVX-512 with BF16 for bfloat16,
    VNNI for int8) does; what meets the weights is then rounded to 16 bits: two bfloat16 a number,
    or whole numbers, the largest of them 32767. Larger batches expand the weights first and gain
    nothing.

    What is lost: a weight's relative error is at most 2^-8 in bfloat16 (8 bits of mantissa); in
    int8 its error is at most 1/254 of the largest weight of its row. Outputs of layers as they
    are initialised move by less than 0.5 % (bfloat16) or 1.2 % (int8) of their range.

    It has no parameters of its own (`params` is empty), and does not follow the layer's.
    """

    _kind = "reduced"

    def __init__(self, layer, kind):
        if kind not in KINDS:
            raise ValueError(f"kind: expected one of {', '.join(map(repr, KINDS))}, got {kind!r}")
        if layer.dtype != "float32":
            raise ValueError(f"reduced: expected a float32 layer, got {layer.dtype}")
        if layer.num_heads > 1:
            raise ValueError(f"reduced: expected a layer of one head, got {layer.num_heads}")
        if layer.cell.normalised:
            raise ValueError("reduced: expected a layer without layer_norm")
        super().__init__(layer, lambda weights: reduce_weights(weights, kind))
        self.kind = kind
