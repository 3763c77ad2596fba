"""ONNX Runtime's operators RNN, LSTM, GRU; inference only.

Inputs and outputs are bound once, so that a call neither copies nor allocates: never slower
than `session.run`, and by a third quicker for a single step.
"""

from importlib.util import find_spec
from itertools import cycle

import numpy as np

from bench.peers.onnx_model import serialized_model, state_names
from bench.prepared import Prepared

NAME = "onnxruntime"
MODES = ("inference", "stream")


def absent(device):
    if device != "cpu":
        return "its CUDA build is not driven here"
    missing = [name for name in ("onnxruntime", "onnx") if find_spec(name) is None]
    return f"{' and '.join(missing)} not installed" if missing else None


def prepare(case, mode, device, threads):
    import onnxruntime

    weights, x, _ = case.numbers()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(
        serialized_model(case, weights, stream=mode == "stream"),
        options,
        providers=["CPUExecutionProvider"],
    )

    def value(array):
        return onnxruntime.OrtValue.ortvalue_from_numpy(array)

    def bound(inputs, outputs):
        binding = session.io_binding()
        for name, given in inputs.items():
            binding.bind_ortvalue_input(name, given)
        for name, given in outputs.items():
            binding.bind_ortvalue_output(name, given)
        return binding

    x = value(x)
    if mode == "inference":
        y = value(np.empty((case.T, 1, case.B, case.H), np.float32))
        binding = bound({"x": x}, {"y": y})

        def inference():
            session.run_with_iobinding(binding)
            return (y,)

        return Prepared(inference, lambda y: y.numpy()[:, 0])

    # Two sets of states take turns as the input and the output.
    states = [
        {name: value(np.zeros((1, case.B, case.H), np.float32)) for name in state_names(case)}
        for _ in range(2)
    ]
    turns = cycle(
        (bound({"x": x, **old}, {f"new_{name}": s for name, s in new.items()}), new["h"])
        for old, new in (states, states[::-1])
    )

    def stream():
        binding, h = next(turns)
        session.run_with_iobinding(binding)
        return (h,)

    return Prepared(stream, lambda h: h.numpy()[0])
