"""`python -m bench`: gpurnn beside NumPy, PyTorch and ONNX Runtime, on this machine, now.

Every peer gets the same weights and inputs; results are compared before anything is timed.
Peers take turns within each round, and medians over the rounds are shown. "of limit" is the
time that the matrix products (or the memory traffic) would need at the best rates measured
between the cases of the same run, by gpurnn's time. Training is forward and backward with all
gradients, dx too.
"""

import argparse
import itertools
import os
import sys


def _shape(text):
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        sizes = ()
    if len(sizes) != 4 or min(sizes) < 1:
        raise argparse.ArgumentTypeError(f"expected T,B,I,H, four whole numbers, got {text!r}")
    return sizes


def _positive(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def _usable_cores():
    affinity = getattr(os, "sched_getaffinity", None)  # Linux: what a container may use
    return len(affinity(0)) if affinity else os.cpu_count()


def parse(arguments):
    from bench.cases import DEFAULT_SHAPES, GATES

    parser = argparse.ArgumentParser("python -m bench", description=__doc__)
    parser.add_argument("--cell", action="append", choices=list(GATES), help="repeatable")
    parser.add_argument("--shape", action="append", type=_shape, metavar="T,B,I,H")
    parser.add_argument("--mode", action="append", choices=["inference", "training"])
    parser.add_argument("--rounds", type=_positive, default=9)
    parser.add_argument("--threads", type=_positive, default=_usable_cores())
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--json", metavar="FILE", help="write everything measured there")
    parser.add_argument("--product-size", type=_positive, default=1536, help="of the limit's")
    parser.add_argument("--copy-megabytes", type=_positive, default=256, help="of the limit's")
    options = parser.parse_args(arguments)
    options.cell = options.cell or list(GATES)
    options.shape = options.shape or DEFAULT_SHAPES
    options.mode = options.mode or ["inference", "training"]
    return options


def main(arguments=None):
    options = parse(arguments)
    # NumPy's and PyTorch's libraries read these when they load: nothing above may load them.
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(options.threads)
    from bench import limits, measuring, peers, report
    from bench.cases import Case

    present, absent = peers.present_and_absent(options.device)
    names = [peer.NAME for peer in present]
    if "gpurnn" in absent:
        sys.exit(f"gpurnn on {options.device}: {absent['gpurnn']}")
    machine = report.describe_machine(options.device, options.threads)
    print(report.heading(machine, absent), flush=True)
    meter = limits.Meter(
        options.device, options.threads, options.product_size, options.copy_megabytes
    )
    cases = [Case(cell, *shape) for cell in options.cell for shape in options.shape]
    results = []
    for number, (mode, case) in enumerate(itertools.product(options.mode, cases), 1):
        print(f"{number}/{len(options.mode) * len(cases)} {mode} {case}", file=sys.stderr)
        meter.measure()
        try:
            row = measuring.run_case(
                case, mode, present, options.device, options.threads, options.rounds
            )
        except measuring.Disagreement as wrong:
            sys.exit(str(wrong))
        results.append(row)
    meter.measure()
    for (mode, case), row in zip(itertools.product(options.mode, cases), results):
        least = meter.least_seconds(case, mode)
        row["of_limit"] = least / row["median_seconds"]["gpurnn"]
    print(report.limits_line(meter))
    print(report.table_head(names))
    for row in results:
        print(report.table_line(row, names))
    if options.json:
        report.write_json(options.json, machine, meter, absent, results)


if __name__ == "__main__":
    main()
