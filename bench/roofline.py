"""The roofline plot (Williams, Waterman & Patterson 2009): how near to the limits each case is."""

import numpy as np

from bench.summary import case_of

MARKERS = {"rnn": "o", "lstm": "s", "gru": "^"}
COLOURS = {"inference": "tab:blue", "training": "tab:red", "stream": "tab:green"}


def draw(path, rows, meter, machine, one_thread, cache_gbs):
    """Write the picture: intensity (flops by the bytes that must move) against GFLOP/s.

    one_thread: name -> GFLOP/s of the product on one thread; cache_gbs: GB/s or None.
    Cases with B >= 32 and H >= 512 are labelled with their fraction of the best product's rate.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 8), layout="constrained")
    axes = figure.add_subplot(xscale="log", yscale="log")
    points = [_point(row) for row in rows]
    intensities = [intensity for intensity, _ in points]
    reach = np.geomspace(0.7 * min(intensities), 1.6 * max(intensities), 200)

    def roof(gflops, gbs, label, **style):
        axes.plot(reach, np.minimum(gflops, gbs * reach), label=label, lw=1, **style)

    best = meter.best_product_gflops
    threads = f"{meter.threads} thread{'s' if meter.threads > 1 else ''}"
    for name, rate in meter.product_gflops.items():
        top = f"product of {name}, {threads}: {rate:.0f} GFLOP/s; copy {meter.copy_gbs:.0f} GB/s"
        roof(rate, meter.copy_gbs, top, color="black", ls="-" if rate == best else ":")
    if cache_gbs:
        roof(best, cache_gbs, f"last-level cache read: {cache_gbs:.0f} GB/s", color="grey", ls="--")
    for name, rate in one_thread.items():
        axes.axhline(rate, color="grey", lw=0.7, ls=":")
        axes.annotate(f"{name}, 1 thread: {rate:.0f}", (reach[0], rate), fontsize=7, va="bottom")

    for row, (intensity, gflops) in zip(rows, points):
        style = {"marker": MARKERS[row["cell"]], "color": COLOURS[row["mode"]], "ls": "none"}
        axes.plot(intensity, gflops, **style)
        if row["best_peer"]:
            theirs = gflops / row["speed_vs_best_peer"]
            axes.plot([intensity, intensity], [gflops, theirs], color="grey", lw=0.5)
            axes.plot(intensity, theirs, **style, fillstyle="none", alpha=0.5)
        if case_of(row).is_large():
            axes.annotate(
                f" {gflops / best:.0%}", (intensity, gflops), fontsize=8, color=style["color"]
            )
    for cell in dict.fromkeys(row["cell"] for row in rows):
        for mode in dict.fromkeys(row["mode"] for row in rows):
            style = {"marker": MARKERS[cell], "color": COLOURS[mode], "ls": "none"}
            axes.plot([], [], label=f"{cell.upper()}, {mode}", **style)
    axes.plot([], [], "o", color="grey", fillstyle="none", label="the best peer")
    axes.set_xlabel("flops by byte that must move (weights, inputs and outputs once)")
    axes.set_ylabel("GFLOP/s; labels: fraction of the product's limit")
    axes.set_title(f"{machine['name']}, {threads}, float32", fontsize=10)
    axes.grid(alpha=0.3)
    figure.legend(fontsize=7, loc="outside lower center", ncols=3)
    figure.savefig(path, dpi=150)


def _point(row):
    case = case_of(row)
    return case.flops(row["mode"]) / case.bytes(row["mode"]), row["gflops"]
