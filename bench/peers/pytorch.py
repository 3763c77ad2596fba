"""PyTorch's layers: oneDNN or its own kernels on the CPU, cuDNN on CUDA."""

from importlib.util import find_spec

from bench.prepared import Prepared, fastest

NAME = "torch"
MODES = ("inference", "training", "stream")


def absent(device):
    if find_spec("torch") is None:
        return "not installed"
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            return "this build finds no CUDA"
    return None


def prepare(case, mode, device, threads):
    import torch

    torch.set_num_threads(threads)
    wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)
    kind = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[case.cell]
    weights, x, dy = case.numbers()
    layer = kind(case.I, case.H, device=device)
    layer.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    x, dy = torch.from_numpy(x).to(device), torch.from_numpy(dy).to(device)

    def inference():
        with torch.inference_mode():
            y, _ = layer(x)
        wait()
        return (y,)

    x_followed = x.clone().requires_grad_()  # gpurnn gives dx too
    parameters = [dict(layer.named_parameters())[name] for name in weights]

    def training():
        layer.zero_grad(set_to_none=True)
        x_followed.grad = None
        y, _ = layer(x_followed)
        y.backward(dy)
        wait()
        return y, x_followed.grad, *(p.grad for p in parameters)

    def stream_of_layer():
        state = None

        def step():
            nonlocal state
            with torch.inference_mode():
                y, state = layer(x, state)
            wait()
            return (y[0],)

        return step

    def stream_of_cell():
        cells = torch.nn.RNNCell, torch.nn.LSTMCell, torch.nn.GRUCell
        cell = dict(zip(("rnn", "lstm", "gru"), cells))[case.cell](case.I, case.H, device=device)
        named = {name.removesuffix("_l0"): p for name, p in layer.state_dict().items()}
        cell.load_state_dict(named)
        state = None

        def step():
            nonlocal state
            with torch.inference_mode():
                state = cell(x[0], state)
            wait()
            return (state[0] if case.cell == "lstm" else state,)

        return step

    if mode == "stream":
        run = fastest(stream_of_layer, stream_of_cell)
    else:
        run = {"inference": inference, "training": training}[mode]
    return Prepared(run, lambda a: a.detach().cpu().numpy())
