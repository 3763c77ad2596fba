"""One recurrent layer as an ONNX model, for the peers that run such."""

import numpy as np

OPSET, IR_VERSION = 17, 8  # old enough for every runtime of the last years
# Blocks of PyTorch's i f g o and r z n, in ONNX's order i o f c and z r h.
ORDER = {"rnn": (0,), "lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}
ATTRIBUTES = {"rnn": {"activations": ["Tanh"]}, "lstm": {}, "gru": {"linear_before_reset": 1}}


def _reordered(array, cell):
    blocks = np.split(array, len(ORDER[cell]))
    return np.concatenate([blocks[n] for n in ORDER[cell]])


def state_names(case):
    return ("h", "c") if case.cell == "lstm" else ("h",)


def serialized_model(case, weights, stream=False):
    """The model's bytes: x (T, B, I) -> y (T, 1, B, H).

    With `stream`: x and the states "h" (and "c"), each (1, B, H), to "new_h" (and "new_c").
    """
    from onnx import TensorProto, helper, numpy_helper

    def tensor(name, *shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    w_ih, w_hh, b_ih, b_hh = (_reordered(value, case.cell)[None] for value in weights.values())
    constants = {"W": w_ih, "R": w_hh, "B": np.concatenate([b_ih, b_hh], axis=1)}
    inputs, outputs = [tensor("x", case.T, case.B, case.I)], []
    node_inputs, node_outputs = ["x", *constants], []
    if stream:
        states = state_names(case)
        inputs += [tensor(name, 1, case.B, case.H) for name in states]
        outputs += [tensor(f"new_{name}", 1, case.B, case.H) for name in states]
        node_inputs += ["", *states]  # between them: the lengths, left out
        node_outputs += ["", *(f"new_{name}" for name in states)]
    else:
        outputs += [tensor("y", case.T, 1, case.B, case.H)]
        node_outputs += ["y"]
    kind, attributes = case.cell.upper(), ATTRIBUTES[case.cell]
    node = helper.make_node(kind, node_inputs, node_outputs, hidden_size=case.H, **attributes)
    initial = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph([node], case.cell, inputs, outputs, initial)
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    return model.SerializeToString()
