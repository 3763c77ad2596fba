"""What a run comes to: ratios to the peers, their geometric means, the lost cases."""

import math

from bench.cases import Case

TABLE_MODES = ("inference", "training")  # what "over all" is taken over: one case a shape and cell


def geometric_mean(ratios):
    """Of positive numbers; None where there are none."""
    ratios = list(ratios)
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None


def ratio(row, peer):
    """How many times the peer's speed gpurnn reaches; None where the peer was not timed."""
    medians = row["median_seconds"]
    return medians[peer] / medians["gpurnn"] if peer in medians else None


def means(rows):
    """[(modes, mean ratio to the best peer, mean ratio to PyTorch)]; None where not timed."""
    modes = list(dict.fromkeys(row["mode"] for row in rows))
    lines = [(mode, [row for row in rows if row["mode"] == mode]) for mode in modes]
    in_all = [mode for mode in modes if mode in TABLE_MODES]
    if len(in_all) > 1:
        name = " and ".join(in_all)
        lines.append((name, [row for row in rows if row["mode"] in in_all]))
    return [(name, _mean(part, "best_peer"), _mean(part, "torch")) for name, part in lines]


def _mean(rows, peer):
    found = (ratio(row, row["best_peer"] if peer == "best_peer" else peer) for row in rows)
    return geometric_mean(r for r in found if r is not None)


def slower(rows):
    """The rows in which the best peer is faster, the worst first."""
    lost = [row for row in rows if row["best_peer"] and row["speed_vs_best_peer"] < 1]
    return sorted(lost, key=lambda row: row["speed_vs_best_peer"])


def case_of(row):
    return Case(row["cell"], *(row[size] for size in "TBIH"))


def name_of(row):
    return f"{row['mode']} {case_of(row)}"


def number(value):
    """A ratio in two or three digits."""
    return "-" if value is None else f"{value:.2f}" if value < 10 else f"{value:.0f}"


def summary_lines(rows):
    yield from _limits_of_large(rows)
    if not any(row["best_peer"] for row in rows):
        return
    yield "geometric mean of the speed relative to the best peer, and to PyTorch:"
    for name, best, torch in means(rows):
        yield f"  {name:<24}{number(best):>6}{number(torch):>8}"
    lost = slower(rows)
    if not lost:
        yield "slower than the best peer: nowhere"
        return
    yield f"slower than the best peer in {len(lost)} of {len(rows)} cases:"
    for row in lost:
        yield f"  {name_of(row):<32}{number(row['speed_vs_best_peer']):>6} x {row['best_peer']}"


def _limits_of_large(rows):
    large = sorted((r for r in rows if case_of(r).is_large()), key=lambda r: r["of_limit"])
    if large:
        least, most = (f"{r['of_limit']:.0%} ({name_of(r)})" for r in (large[0], large[-1]))
        yield f"of the product's limit where B >= 32 and H >= 512: {least} to {most}"


def markdown(rows):
    """The README's table: a line a shape, a column a cell and mode; then the means."""
    modes = list(dict.fromkeys(row["mode"] for row in rows))
    cells = list(dict.fromkeys(row["cell"] for row in rows))
    shapes = list(dict.fromkeys(_shape(row) for row in rows))
    found = {(_shape(row), row["cell"], row["mode"]): row for row in rows}
    columns = [(cell, mode) for mode in modes for cell in cells]
    titles = [cell.upper() + (f" {mode}" if mode != "inference" else "") for cell, mode in columns]
    lines = ["| T, B, I, H | " + " | ".join(titles) + " |", "|---" * (1 + len(columns)) + "|"]
    for shape in shapes:
        rows_here = [found.get((shape, cell, mode)) for cell, mode in columns]
        entries = ["" if row is None else number(row["speed_vs_best_peer"]) for row in rows_here]
        lines.append(f"| {', '.join(map(str, shape))} | " + " | ".join(entries) + " |")
    lines += ["", "| geometric mean | to the best peer | to PyTorch |", "|---|---|---|"]
    lines += [f"| {name} | {number(b)} | {number(torch)} |" for name, b, torch in means(rows)]
    return "\n".join(lines) + "\n"


def _shape(row):
    return tuple(row[size] for size in "TBIH")
