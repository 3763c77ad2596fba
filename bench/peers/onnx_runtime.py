"""ONNX Runtime's operators RNN, LSTM, GRU; inference only."""

from importlib.util import find_spec

import numpy as np

from bench.prepared import Prepared

NAME = "onnxruntime"
OPSET, IR_VERSION = 17, 8  # old enough for every ONNX Runtime of the last years
# Blocks of PyTorch's i f g o and r z n, in ONNX's order i o f c and z r h.
ORDER = {"rnn": (0,), "lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}
ATTRIBUTES = {"rnn": {"activations": ["Tanh"]}, "lstm": {}, "gru": {"linear_before_reset": 1}}


def absent(device):
    if device != "cpu":
        return "its CUDA build is not driven here"
    missing = [name for name in ("onnxruntime", "onnx") if find_spec(name) is None]
    return f"{' and '.join(missing)} not installed" if missing else None


def _reordered(array, cell):
    blocks = np.split(array, len(ORDER[cell]))
    return np.concatenate([blocks[n] for n in ORDER[cell]])


def _model(case, weights):
    from onnx import TensorProto, helper, numpy_helper

    w_ih, w_hh, b_ih, b_hh = (_reordered(value, case.cell)[None] for value in weights.values())
    constants = {"W": w_ih, "R": w_hh, "B": np.concatenate([b_ih, b_hh], axis=1)}
    node = helper.make_node(
        case.cell.upper(),
        ["x", *constants],
        ["y"],
        hidden_size=case.H,
        **ATTRIBUTES[case.cell],
    )
    graph = helper.make_graph(
        [node],
        case.cell,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [case.T, case.B, case.I])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [case.T, 1, case.B, case.H])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def prepare(case, device, threads):
    import onnxruntime

    weights, x, _ = case.numbers()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(
        _model(case, weights).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def inference():
        return tuple(session.run(["y"], {"x": x}))

    return Prepared({"inference": inference}, lambda y: y[:, 0])
