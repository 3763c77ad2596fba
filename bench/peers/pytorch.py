"""PyTorch's layers: oneDNN or its own kernels on the CPU, cuDNN on CUDA."""

from importlib.util import find_spec

from bench.prepared import Prepared

NAME = "torch"


def absent(device):
    if find_spec("torch") is None:
        return "not installed"
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            return "this build finds no CUDA"
    return None


def prepare(case, device, threads):
    import torch

    torch.set_num_threads(threads)
    wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)
    kind = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[case.cell]
    weights, x, dy = case.numbers()
    layer = kind(case.I, case.H, device=device)
    layer.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    x, dy = torch.from_numpy(x).to(device), torch.from_numpy(dy).to(device)
    x_followed = x.clone().requires_grad_()  # gpurnn gives dx too
    parameters = [dict(layer.named_parameters())[name] for name in weights]

    def inference():
        with torch.inference_mode():
            y, _ = layer(x)
        wait()
        return (y,)

    def training():
        layer.zero_grad(set_to_none=True)
        x_followed.grad = None
        y, _ = layer(x_followed)
        y.backward(dy)
        wait()
        return y, x_followed.grad, *(p.grad for p in parameters)

    modes = {"inference": inference, "training": training}
    return Prepared(modes, lambda a: a.detach().cpu().numpy())
