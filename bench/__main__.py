"""gpurnn beside a NumPy loop, PyTorch, ONNX Runtime, OpenVINO and JAX, on this machine, now.

Every peer gets the same weights and inputs; results are compared before anything is timed.
Where a peer has several ways to do it, the quickest is taken. Peers take turns within each
round, and medians over the rounds are shown, in milliseconds. "of limit" is the time that the
matrix products (or the memory traffic) would need at the best rates measured between the cases
of the same run, by gpurnn's time. Training is forward and backward with all gradients, dx too;
stream is one step of sequences that arrive step by step (shapes with T = 1).
"""

import argparse
import sys

MEASURE_EVERY = 4  # cases: the limits again


def parse(arguments):
    from bench import options as common
    from bench.cases import DEFAULT_SHAPES, GATES, MODES, QUICK_SHAPES

    parser = argparse.ArgumentParser("python -m bench", description=__doc__)
    parser.add_argument("--cell", action="append", choices=list(GATES), help="repeatable")
    parser.add_argument("--shape", action="append", type=common.sizes("T,B,I,H"), metavar="T,B,I,H")
    parser.add_argument("--mode", action="append", choices=MODES)
    parser.add_argument("--quick", action="store_true", help="three shapes, few rounds: to try")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    common.add_common(parser, rounds=15, seconds=12)
    parser.add_argument("--json", metavar="FILE", help="write everything measured there")
    parser.add_argument(
        "--markdown",
        metavar="FILE",
        nargs="?",
        const="-",
        help="the table of ratios (no FILE: print)",
    )
    parser.add_argument("--plot", metavar="FILE.png", help="the roofline plot; needs matplotlib")
    parser.add_argument("--store", metavar="FILE", help="keep the ratios there")
    parser.add_argument("--against", metavar="FILE", help="fail if ratios fell below those kept")
    parser.add_argument("--product-size", type=common.positive, default=1536, help="of the limit's")
    parser.add_argument(
        "--copy-megabytes", type=common.positive, default=256, help="of the limit's"
    )
    options = parser.parse_args(arguments)
    options.cell = options.cell or list(GATES)
    options.shape = options.shape or (QUICK_SHAPES if options.quick else DEFAULT_SHAPES)
    options.mode = options.mode or MODES
    if options.quick:
        options.rounds, options.seconds = min(options.rounds, 5), min(options.seconds, 3)
    options.runs = [
        (mode, cell, shape)
        for mode in options.mode
        for cell in options.cell
        for shape in options.shape
        if mode != "stream" or shape[0] == 1
    ]
    if not options.runs:
        parser.error("argument --shape: expected one with T = 1 for --mode stream")
    return options


def measure(options, present, meter):
    """The rows of the table, in order."""
    from bench.cases import Case
    from bench.measuring import run_case
    from bench.progress import Progress

    cases = [(mode, Case(cell, *shape)) for mode, cell, shape in options.runs]
    # A case takes its preparation, and then its rounds: by products, up to all its seconds.
    progress = Progress(1 + min(1, case.flops(mode) / 1e9) for mode, case in cases)
    rows = []
    try:
        for number, (mode, case) in enumerate(cases):
            progress.next(f"{mode} {case}")
            if number % MEASURE_EVERY == 0:
                meter.measure()
            rows.append(
                run_case(
                    case, mode, present, options.device, options.threads, options.rounds,
                    options.seconds,
                )
            )  # fmt: skip
        meter.measure()
    except KeyboardInterrupt:
        if not rows:
            raise
        print("stopped; this is what there is so far", file=sys.stderr)
    for (mode, case), row in zip(cases, rows):
        row["of_limit"] = meter.least_seconds(case, mode) / row["median_seconds"]["gpurnn"]
    return rows


def main(arguments=None):
    options = parse(arguments)
    from bench.threads import limit_threads

    limit_threads(options.threads)
    from bench import limits, peers, report, stored, summary
    from bench.load import Load, warning
    from bench.measuring import Disagreement

    try:
        before = stored.load(options.against) if options.against else None
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    present, absent = peers.present_and_absent(options.device)
    if "gpurnn" in absent:
        sys.exit(f"gpurnn on {options.device}: {absent['gpurnn']}")
    machine, load = report.describe_machine(options.device, options.threads), Load()
    print(report.heading(machine, absent), flush=True)
    meter = limits.Meter(
        options.device, options.threads, options.product_size, options.copy_megabytes
    )
    try:
        rows = measure(options, present, meter)
    except Disagreement as wrong:
        sys.exit(str(wrong))
    machine["cores_busy_with_others"] = load.of_others()

    names = [peer.NAME for peer in present]
    print(report.limits_line(meter))
    print(report.table_head(names))
    for row in rows:
        print(report.table_line(row, names))
    print(*summary.summary_lines(rows), sep="\n")
    if busy := warning(machine["cores_busy_with_others"]):
        print(busy)
    _write(options, machine, meter, absent, rows)
    if before:
        _compare(before, machine, rows)


def _write(options, machine, meter, absent, rows):
    from pathlib import Path

    from bench import limits, report, roofline, stored, summary

    if options.json:
        report.write_json(options.json, machine, meter, absent, rows)
    if options.markdown == "-":
        print(summary.markdown(rows), end="")
    elif options.markdown:
        Path(options.markdown).write_text(summary.markdown(rows))
    if options.store:
        stored.store(options.store, machine, rows)
    if options.plot:
        on_cpu = options.device == "cpu"
        one_thread = meter.one_thread_gflops() if on_cpu else {}
        cache_gbs = limits.cache_read_gbs() if on_cpu else None
        roofline.draw(options.plot, rows, meter, machine, one_thread, cache_gbs)


def _compare(before, machine, rows):
    from bench import stored

    for line in stored.differing_machine(before, machine):
        print(line)
    lines, compared = stored.fallen(before, rows)
    if lines:
        sys.exit(f"fell by more than {stored.MARGIN:.0%}:\n  " + "\n  ".join(lines))
    print(f"none of {compared} ratios fell by more than {stored.MARGIN:.0%}")


if __name__ == "__main__":
    main()
