"""CTC and attention, forward and backward, beside PyTorch: medians of interleaved rounds.

CTC is given as T,B,V,S (steps, sequences, classes, labels), from logits to their gradient;
attention as Tq,Tk,B,N (queries, keys, sequences, size of everything), all steps at once, from
query and keys to their gradients and the parameters'. float32. Results are compared first, with
PyTorch's in float64: its CTC in float32 is right to a few thousandths in long sequences.
"""

import argparse
import statistics

CTC_SHAPES = ((200, 16, 50, 30), (1000, 8, 30, 150), (150, 32, 5000, 20))
ATTENTION_SHAPES = ((40, 50, 32, 256), (1, 50, 32, 256), (200, 200, 4, 128))
KINDS = ("additive", "general")


def parse(arguments):
    from bench import options as common

    parser = argparse.ArgumentParser("python -m bench.sequences", description=__doc__)
    for name, letters in (("ctc", "T,B,V,S"), ("attention", "Tq,Tk,B,N")):
        parser.add_argument(
            f"--{name}", action="append", type=common.sizes(letters), metavar=letters
        )
    common.add_common(parser, rounds=15, seconds=10)
    options = parser.parse_args(arguments)
    if not (options.ctc or options.attention):
        options.ctc, options.attention = CTC_SHAPES, ATTENTION_SHAPES
    return options


def ctc(T, B, V, S):
    """By name of the peer a function that returns the loss and the gradient."""
    import numpy as np

    import gpurnn

    rng = np.random.default_rng(1)
    logits = rng.standard_normal((T, B, V), np.float32)
    targets = rng.integers(1, V, (B, S))
    lengths = np.full(B, T), np.full(B, S)

    def pytorch(torch, precision):
        x = torch.from_numpy(logits.astype(precision)).requires_grad_()
        others = [torch.from_numpy(a) for a in (targets, *lengths)]

        def run():
            x.grad = None
            loss = torch.nn.functional.ctc_loss(x.log_softmax(-1), *others)
            loss.backward()
            return loss.detach(), x.grad

        return run

    return lambda: gpurnn.ctc_loss(logits, targets, *lengths), pytorch


def attention(kind, Tq, Tk, B, N):
    """As `ctc`: the context and the gradients."""
    import numpy as np

    import gpurnn

    rng = np.random.default_rng(1)
    query, keys, dcontext = (rng.standard_normal((T, B, N), np.float32) for T in (Tq, Tk, Tq))
    layer = gpurnn.Attention(N, N, kind=kind, rng=1)

    def ours():
        layer.zero_grads()
        context, _, backward = layer.forward(query, keys)
        return context, *backward(dcontext), *layer.grads.values()

    def pytorch(torch, precision):
        def own(a):
            return torch.from_numpy(a.astype(precision)).requires_grad_()

        q, k, d = own(query), own(keys), torch.from_numpy(dcontext.astype(precision))
        params = {n: own(a) for n, a in layer.params.items()}

        def run():
            for tensor in (q, k, *params.values()):
                tensor.grad = None
            if kind == "additive":
                of_keys = (k @ params["weight_key"].T).transpose(0, 1)
                sums = (q @ params["weight_query"].T)[:, :, None] + of_keys
                scores = (torch.tanh(sums) @ params["weight_score"]).transpose(0, 1)
            else:
                scores = (q @ params["weight"]).transpose(0, 1) @ k.permute(1, 2, 0)
            context = (scores.softmax(-1) @ k.transpose(0, 1)).transpose(0, 1)
            context.backward(d)
            return context.detach(), *(a.grad for a in (q, k, *params.values()))

        return run

    return ours, pytorch


def measure(name, makers, rounds, seconds, torch):
    """Median seconds by name of the peer."""
    from bench.measuring import check, time_interleaved
    from bench.prepared import Prepared

    ours, pytorch = makers
    runs = {"gpurnn": ours}
    if torch:
        compared = {"gpurnn": ours, "torch": pytorch(torch, "float64")}
        check(name, "training", {n: Prepared(run, _to_numpy) for n, run in compared.items()})
        runs["torch"] = pytorch(torch, "float32")
    samples = time_interleaved(runs, rounds, seconds)
    return {n: statistics.median(values) for n, values in samples.items()}


def _to_numpy(a):
    import numpy as np

    return np.asarray(a)


def main(arguments=None):
    options = parse(arguments)
    from bench.beside_torch import beside_torch

    with beside_torch(options.threads) as torch:
        cases = [("ctc", shape, ctc(*shape)) for shape in options.ctc or ()]
        cases += [
            (kind, shape, attention(kind, *shape))
            for shape in options.attention or ()
            for kind in KINDS
        ]
        print(f"{'':<28}{'gpurnn ms':>11}{'torch ms':>11}  gpurnn is")
        for kind, shape, makers in cases:
            name = f"{kind} {','.join(map(str, shape))}"
            medians = measure(name, makers, options.rounds, options.seconds, torch)
            line = f"{name:<28}{1e3 * medians['gpurnn']:>11.3f}"
            if torch:
                ratio = medians["torch"] / medians["gpurnn"]
                line += f"{1e3 * medians['torch']:>11.3f}  {ratio:.2f} times as fast"
            print(line, flush=True)


if __name__ == "__main__":
    main()
