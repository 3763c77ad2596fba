"""Characters a second in training a language model: the whole step, as `gpurnn train` does it.

Embedding, recurrent layer, output layer, loss, backward, clipping and Adam, float32, beside the
same in PyTorch and JAX. The losses of the first steps are compared before anything is timed.
"""

import argparse
import statistics
import sys
from dataclasses import asdict

CHECKED_STEPS = 5
TOLERANCE = 1e-3  # of the loss, after steps of Adam, which make much of roundings


def parse(arguments):
    from bench import options as common
    from bench.cases import GATES

    parser = argparse.ArgumentParser("python -m bench.language_model", description=__doc__)
    parser.add_argument("--cell", choices=list(GATES), default="lstm")
    defaults = {"vocabulary": 100, "embedding": 64, "hidden": 256, "batch": 32, "steps": 100}
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=common.positive, default=value)
    common.add_common(parser, rounds=15, seconds=60)
    options = parser.parse_args(arguments)
    options.sizes = {name: getattr(options, name) for name in ("cell", *defaults)}
    return options


def differing(losses):
    """The first whose losses are not the first one's, as a message; None if all agree."""
    (first, ours), *others = losses.items()
    for name, theirs in others:
        for number, (a, b) in enumerate(zip(ours, theirs, strict=True), 1):
            if not abs(a - b) < TOLERANCE:  # NaN too
                return f"step {number}: {name} has a loss of {b:.5f}, {first} of {a:.5f}"
    return None


def main(arguments=None):
    options = parse(arguments)
    from bench.threads import limit_threads

    limit_threads(options.threads)
    import gpurnn
    from bench import load, measuring, report, training_steps
    from bench.peers import jax_scan, pytorch

    gpurnn.set_num_threads(options.threads)
    peers = ((pytorch, training_steps.pytorch), (jax_scan, training_steps.jax_scan))
    absent = {peer.NAME: why for peer, _ in peers if (why := peer.absent("cpu"))}
    if pytorch.NAME not in absent:
        import torch

        torch.set_num_threads(options.threads)
    machine, meanwhile = report.describe_machine("cpu", options.threads), load.Load()
    print(report.heading(machine, absent), flush=True)

    sizes = training_steps.Sizes(**options.sizes)
    steps = {"gpurnn": training_steps.ours(sizes)}
    steps |= {peer.NAME: make(sizes) for peer, make in peers if peer.NAME not in absent}
    losses = {name: [step() for _ in range(CHECKED_STEPS)] for name, step in steps.items()}
    if wrong := differing(losses):
        sys.exit(wrong)
    samples = measuring.time_interleaved(steps, options.rounds, options.seconds)
    medians = {name: statistics.median(values) for name, values in samples.items()}
    print(", ".join(f"{name} {value}" for name, value in asdict(sizes).items()))
    for name, seconds in medians.items():
        rate = sizes.batch * sizes.steps / seconds
        ratio = "" if name == "gpurnn" else f"  gpurnn is {seconds / medians['gpurnn']:.2f} times"
        print(f"{name:<8}{1e3 * seconds:>9.2f} ms a step{rate:>10,.0f} characters a second{ratio}")
    if busy := load.warning(meanwhile.of_others()):
        print(busy)


if __name__ == "__main__":
    main()
