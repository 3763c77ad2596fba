"""Sequences of different lengths: gpurnn beside PyTorch's packed and padded sequences.

Lengths are drawn evenly from 1 to T, in no order. "lengths" is gpurnn given the lengths,
"packed" is pack_padded_sequence, the layer, and pad_packed_sequence, "padded" is the layer over
all T steps (which computes something else past the ends). Shown are microseconds a valid step of
a sequence: what costs in proportion to the valid steps has the same number as padded sequences
that are all T steps long.
"""

import argparse
import statistics

SHAPES = ((10, 32, 128, 128), (100, 32, 256, 256), (1000, 16, 64, 64), (4000, 8, 64, 64))
WAYS = ("gpurnn lengths", "gpurnn padded", "torch packed", "torch padded")


def parse(arguments):
    from bench import options as common
    from bench.cases import GATES

    parser = argparse.ArgumentParser("python -m bench.lengths", description=__doc__)
    parser.add_argument("--cell", action="append", choices=list(GATES), help="repeatable")
    parser.add_argument("--shape", action="append", type=common.sizes("T,B,I,H"), metavar="T,B,I,H")
    parser.add_argument("--mode", action="append", choices=["inference", "training"])
    common.add_common(parser, rounds=9, seconds=10)
    options = parser.parse_args(arguments)
    options.cell = options.cell or ["lstm", "gru"]
    options.shape = options.shape or SHAPES
    options.mode = options.mode or ["inference", "training"]
    return options


def ours(case, mode, lengths):
    from bench.peers.ours import LAYERS
    from bench.prepared import Prepared

    weights, x, dy = case.numbers()
    layer = LAYERS[case.cell](case.I, case.H)
    layer.load_state_dict(weights)

    def inference():
        y, _ = layer(x, lengths=lengths)
        return (y,)

    def training():
        layer.zero_grads()
        y, _, backward = layer.forward(x, lengths=lengths)
        dx, _ = backward(dy)
        return y, dx, *(layer.grads[name] for name in weights)

    return Prepared({"inference": inference, "training": training}[mode], lambda a: a)


def pytorch(case, mode, lengths):
    """With lengths: packed; without: padded."""
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    from bench.prepared import Prepared

    weights, x, dy = case.numbers()
    kind = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[case.cell]
    layer = kind(case.I, case.H)
    layer.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    parameters = [dict(layer.named_parameters())[name] for name in weights]
    x, dy = torch.from_numpy(x), torch.from_numpy(dy)
    x_followed = x.clone().requires_grad_()
    lengths = None if lengths is None else torch.from_numpy(lengths)

    def outputs(x):
        if lengths is None:
            return layer(x)[0]
        packed, _ = layer(pack_padded_sequence(x, lengths, enforce_sorted=False))
        return pad_packed_sequence(packed, total_length=case.T)[0]

    def inference():
        with torch.inference_mode():
            return (outputs(x),)

    def training():
        layer.zero_grad(set_to_none=True)
        x_followed.grad = None
        y = outputs(x_followed)
        y.backward(dy)
        return y, x_followed.grad, *(p.grad for p in parameters)

    modes = {"inference": inference, "training": training}
    return Prepared(modes[mode], lambda a: a.detach().numpy())


def random_lengths(case):
    import numpy as np

    return np.random.default_rng(2).integers(1, case.T + 1, case.B)


def measure(case, mode, rounds, seconds, with_torch):
    """Median seconds a call, by the name of the way, and the number of valid steps."""
    from bench.measuring import check, time_interleaved

    lengths = random_lengths(case)
    ways = {WAYS[0]: ours(case, mode, lengths), WAYS[1]: ours(case, mode, None)}
    if with_torch:
        ways |= {WAYS[2]: pytorch(case, mode, lengths), WAYS[3]: pytorch(case, mode, None)}
        for mine, theirs in zip(WAYS[:2], WAYS[2:]):
            check(case, mode, {mine: ways[mine], theirs: ways[theirs]})
    samples = time_interleaved({name: way.run for name, way in ways.items()}, rounds, seconds)
    medians = {name: statistics.median(values) for name, values in samples.items()}
    return medians, int(lengths.sum())


def main(arguments=None):
    options = parse(arguments)
    from bench.threads import limit_threads

    limit_threads(options.threads)
    import gpurnn
    from bench import load, report
    from bench.cases import Case
    from bench.peers import pytorch as torch_layer
    from bench.summary import number

    gpurnn.set_num_threads(options.threads)
    why_not = torch_layer.absent("cpu")
    if why_not is None:
        import torch

        torch.set_num_threads(options.threads)
    machine, meanwhile = report.describe_machine("cpu", options.threads), load.Load()
    print(report.heading(machine, {"torch": why_not} if why_not else {}))
    columns = "".join(f"{way:>16}" for way in WAYS)
    print(f"{'us a step':<10}{'cell T,B,I,H':<22}{'valid':>6}{columns}  vs packed, vs padded")
    for mode in options.mode:
        for cell in options.cell:
            for case in (Case(cell, *shape) for shape in options.shape):
                medians, valid = measure(
                    case, mode, options.rounds, options.seconds, why_not is None
                )
                times = "".join(
                    f"{1e6 * medians[way] / valid:>16.3f}" if way in medians else f"{'-':>16}"
                    for way in WAYS
                )
                ratios = [
                    number(medians[way] / medians[WAYS[0]] if way in medians else None)
                    for way in WAYS[2:]
                ]
                share = valid / (case.T * case.B)
                print(
                    f"{mode:<10}{str(case):<22}{share:>6.0%}{times}  {', '.join(ratios)}",
                    flush=True,
                )
    if busy := load.warning(meanwhile.of_others()):
        print(busy)


if __name__ == "__main__":
    main()
