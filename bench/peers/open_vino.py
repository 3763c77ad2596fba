"""OpenVINO's CPU plug-in on the model that ONNX Runtime gets; inference only.

Latency hint, one stream, float32 throughout; inputs and outputs are tensors over NumPy arrays,
set once, so that a call copies nothing. Threads tied to their cores are sometimes quicker and
sometimes (beside other work) slower: both are tried.
"""

from functools import partial
from importlib.util import find_spec
from itertools import cycle

import numpy as np

from bench.peers.onnx_model import serialized_model, state_names
from bench.prepared import Prepared, fastest

NAME = "openvino"
MODES = ("inference", "stream")


def absent(device):
    if device != "cpu":
        return "runs on the CPU only"
    missing = [name for name in ("openvino", "onnx") if find_spec(name) is None]
    return f"{' and '.join(missing)} not installed" if missing else None


def prepare(case, mode, device, threads):
    import openvino

    weights, x, _ = case.numbers()
    core = openvino.Core()
    model = core.read_model(serialized_model(case, weights, stream=mode == "stream"))

    def bound(compiled, arrays):
        request = compiled.create_infer_request()
        for name, array in arrays.items():
            request.set_tensor(name, openvino.Tensor(array, shared_memory=True))

        def infer():
            request.infer()
            return arrays  # also keeps them alive: the request does not

        return infer

    def inference(compiled):
        y = np.empty((case.T, 1, case.B, case.H), np.float32)
        infer = bound(compiled, {"x": x, "y": y})
        return lambda: (infer()["y"][:, 0],)

    def stream(compiled):
        # Two sets of states take turns as the input and the output.
        states = np.zeros((2, len(state_names(case)), 1, case.B, case.H), np.float32)
        turns = []
        for old, new in (states, states[::-1]):
            arrays = {"x": x, **dict(zip(state_names(case), old))}
            arrays |= {f"new_{name}": array for name, array in zip(state_names(case), new)}
            turns.append(bound(compiled, arrays))
        turns = cycle(turns)
        return lambda: (next(turns)()["new_h"][0],)

    make = {"inference": inference, "stream": stream}[mode]
    makers = []
    for tied in (True, False):
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",
            "ENABLE_CPU_PINNING": tied,
        }
        makers.append(partial(make, core.compile_model(model, "CPU", options)))
    return Prepared(fastest(*makers), np.asarray)
