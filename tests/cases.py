"""What the tests of recurrent layers share: cells, random problems, devices, closeness."""

from dataclasses import dataclass

import numpy as np

from tests import reference

# Sums of up to a few hundred terms, carried through up to 17 steps, each rounded once; the
# error is measured against the largest number of the array it is in. float32 has 6e-8 and
# float64 1.1e-16 per rounding: this leaves some hundreds of them, and for float64 the
# reference's own.
TOLERANCE = {"float32": 4e-5, "float64": 1e-10}

# Numbers of 16 bits are rounded where they are stored, by up to 2^-11 (float16) or 2^-8 (bfloat16)
# of themselves: on the way through a layer the inputs' part of the gates and y, on the way back
# the gates' gradients (each step's anew, what came from later steps with them), the hidden states
# for the weights' product, and the result; sums are float32. Eight such roundings are left.
TOLERANCE |= {"float16": 8 * 2**-11, "bfloat16": 8 * 2**-8}

CELLS = {
    "rnn_tanh": (reference.ElmanTanh, "RNN", {"nonlinearity": "tanh"}),
    "rnn_relu": (reference.ElmanRelu, "RNN", {"nonlinearity": "relu"}),
    "lstm": (reference.LSTM, "LSTM", {}),
    "gru": (reference.GRUResetAfter, "GRU", {"reset_after": True}),
    "gru_before": (reference.GRUResetBefore, "GRU", {"reset_after": False}),
}


@dataclass(frozen=True)
class Problem:
    """A layer and the sizes of what is fed to it; `ragged` means sequences of unequal length."""

    cell: str = "lstm"
    T: int = 5
    B: int = 3
    I: int = 4
    H: int = 6
    num_layers: int = 1
    bidirectional: bool = False
    ragged: bool = False
    bias: bool = True
    dtype: str = "float32"
    device: str = "cpu"
    seed: int = 1

    @property
    def directions(self):
        return 2 if self.bidirectional else 1

    @property
    def y_shape(self):
        return (self.T, self.B, self.directions * self.H)

    @property
    def state_shape(self):
        return (self.num_layers * self.directions, self.B, self.H)

    @property
    def reference_cell(self):
        return CELLS[self.cell][0]

    def __str__(self):
        """The test's name."""
        words = [self.cell, f"T{self.T}", f"B{self.B}", f"I{self.I}", f"H{self.H}"]
        words += [f"L{self.num_layers}"] + ["bi"] * self.bidirectional
        words += ["ragged"] * self.ragged + ["nobias"] * (not self.bias)
        return "-".join([*words, self.dtype, self.device])


def parameter_shapes(problem):
    """Name -> shape, in PyTorch's names and layout."""
    shapes = {}
    for layer in range(problem.num_layers):
        for suffix in ("", "_reverse")[: problem.directions]:
            rows = problem.reference_cell.gates * problem.H
            columns = problem.I if layer == 0 else problem.directions * problem.H
            shapes[f"weight_ih_l{layer}{suffix}"] = (rows, columns)
            shapes[f"weight_hh_l{layer}{suffix}"] = (rows, problem.H)
            if problem.bias:
                shapes[f"bias_ih_l{layer}{suffix}"] = (rows,)
                shapes[f"bias_hh_l{layer}{suffix}"] = (rows,)
    return shapes


@dataclass
class Numbers:
    """Random parameters and arrays of a problem: NumPy, in its dtype; states always tuples."""

    params: dict
    x: np.ndarray
    state: tuple
    lengths: np.ndarray
    dy: np.ndarray
    dstate: tuple

    def reference(self, problem):
        """(y, state, dx, dstate, grads) in float64."""
        stack = (problem.num_layers, problem.directions)
        y, state, tape = reference.forward(
            problem.reference_cell, self.params, self.x, self.state, self.lengths, *stack
        )
        return y, state, *reference.backward(tape, self.dy, self.dstate)


def random_numbers(problem):
    rng = np.random.default_rng(problem.seed)

    def normal(*shape, scale=1.0):
        return (scale * rng.standard_normal(shape)).astype(problem.dtype)

    def states():
        return tuple(normal(*problem.state_shape) for _ in range(problem.reference_cell.states))

    params = {
        name: normal(*shape, scale=0.7 / np.sqrt(shape[-1]) if len(shape) == 2 else 0.5)
        for name, shape in parameter_shapes(problem).items()
    }
    T, B = problem.T, problem.B
    lengths = np.full(B, T)
    if problem.ragged:
        lengths = rng.integers(1, T + 1, B)
        lengths[rng.integers(B)] = T
    return Numbers(
        params, normal(T, B, problem.I), states(), lengths, normal(*problem.y_shape), states()
    )


def make_layer(problem, params=None, **changed):
    """The problem's gpurnn layer, with `params` loaded where given."""
    import gpurnn

    _, class_name, kind = CELLS[problem.cell]
    options = {
        "num_layers": problem.num_layers,
        "bidirectional": problem.bidirectional,
        "bias": problem.bias,
        "dtype": problem.dtype,
        "device": problem.device,
        "rng": problem.seed,
    }
    layer = getattr(gpurnn, class_name)(problem.I, problem.H, **{**options, **kind, **changed})
    if params is not None:
        layer.load_state_dict(params)
    return layer


def put(array, device):
    """A NumPy array, a tuple of them, or None, on the device."""
    if array is None or device == "cpu":
        return array
    if isinstance(array, tuple):
        return tuple(put(part, device) for part in array)
    import cupy

    return cupy.asarray(array)


def get(array):
    """An array or a tuple of them from either device, as NumPy."""
    if isinstance(array, tuple):
        return tuple(get(part) for part in array)
    return array.get() if hasattr(array, "get") else np.asarray(array)


def as_state(parts, device="cpu"):
    """A tuple of NumPy arrays in the form layers take: h alone, or (h, c), on the device."""
    parts = put(tuple(parts), device)
    return parts if len(parts) > 1 else parts[0]


def as_parts(state):
    """A layer's state as a tuple of NumPy arrays."""
    return get(state) if isinstance(state, tuple) else (get(state),)


def assert_close(actual, expected, dtype, what):
    """Within the dtype's tolerance of the largest number in `expected`; shape and dtype too."""
    actual = get(actual)
    assert actual.shape == np.shape(expected), f"{what}: shape {actual.shape}"
    assert actual.dtype == np.dtype(dtype), f"{what}: dtype {actual.dtype}"
    assert np.all(np.isfinite(actual)), f"{what}: not finite"
    scale = max(np.max(np.abs(expected)), 1e-3)
    error = np.max(np.abs(actual.astype(np.float64) - expected)) / scale
    assert error <= TOLERANCE[np.dtype(dtype).name], f"{what}: relative error {error:.3g}"


def assert_states_close(actual, expected, dtype, what):
    actual = as_parts(actual)
    assert len(actual) == len(expected), f"{what}: {len(actual)} states"
    for part, value, letter in zip(actual, expected, "hc"):
        assert_close(part, value, dtype, f"{what}.{letter}")


def assert_grads_close(layer, expected, dtype):
    assert set(layer.grads) == set(expected)
    for name, value in expected.items():
        assert_close(layer.grads[name], value, dtype, f"grads[{name}]")
