"""gpurnn itself."""

import numpy as np

import gpurnn
from bench.prepared import Prepared

NAME = "gpurnn"
MODES = ("inference", "training", "stream")
LAYERS = {"rnn": gpurnn.RNN, "lstm": gpurnn.LSTM, "gru": gpurnn.GRU}


def absent(device):
    return gpurnn.cuda.why_not() if device == "cuda" else None


def prepare(case, mode, device, threads):
    if device == "cuda":
        import cupy

        put, to_numpy = cupy.asarray, cupy.asnumpy

        def wait():
            cupy.cuda.get_current_stream().synchronize()
    else:
        gpurnn.set_num_threads(threads)
        put, to_numpy = np.asarray, np.asarray

        def wait():
            pass

    weights, x, dy = case.numbers()
    layer = LAYERS[case.cell](case.I, case.H, device=device)
    layer.load_state_dict(weights)
    x, dy = put(x), put(dy)

    # As other libraries do when they compile a network: weights are packed before, once.
    runner = layer if device == "cuda" or mode == "training" else layer.frozen()

    def inference():
        y, _ = runner(x)
        wait()
        return (y,)

    def training():
        layer.zero_grads()
        y, _, backward = layer.forward(x)
        dx, _ = backward(dy)
        wait()
        return y, dx, *(layer.grads[name] for name in weights)

    modes = {"inference": inference, "training": training}
    run = modes[mode] if mode in modes else _stream(runner, x, wait)
    return Prepared(run, to_numpy)


def _stream(layer, x, wait):
    if hasattr(layer, "stream"):
        stream, x_now = layer.stream(batch_size=x.shape[1]), x[0]

        def step():
            y = stream.step(x_now)
            wait()
            return (y,)
    else:
        state = None

        def step():
            nonlocal state
            y, state = layer(x, state)
            wait()
            return (y[0],)

    return step
