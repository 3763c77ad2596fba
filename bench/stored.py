"""The regression check: this run's ratios beside those of a stored run.

    python -m bench --store bench/ratios.json      # on a quiet machine, when speed is as wanted
    python -m bench --against bench/ratios.json    # later, with the same shapes or some of them

Compared is the ratio to the best peer, not the time: a slower or busier machine slows the peers
down too. Still, two runs of the same code on a shared machine differ by a tenth here and there,
and by more where threads wait for each other, so only a fall by more than `MARGIN` is reported:
small enough to see a lost optimisation (those cost a fifth or more), large enough to be silent
on most runs. A case that is reported once and not again was noise: run it alone, with
`--cell`, `--shape` and more `--rounds`.
"""

import json
from pathlib import Path

from bench.summary import name_of, number

MARGIN = 0.15


def store(path, machine, rows):
    ratios = {
        name_of(row): {"ratio": row["speed_vs_best_peer"], "best_peer": row["best_peer"]}
        for row in rows
        if row["best_peer"]
    }
    Path(path).write_text(json.dumps({"machine": machine, "ratios": ratios}, indent=1) + "\n")


def load(path):
    """What `store` wrote. ValueError if the file holds something else."""
    try:
        stored = json.loads(Path(path).read_text())
        for entry in stored["ratios"].values():
            entry["ratio"] + 0.0, entry["best_peer"]
        stored["machine"]["name"], stored["machine"]["threads"]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path}: expected what --store writes, got {error!r}") from None
    return stored


def differing_machine(stored, machine):
    """What is another than in the stored run, as lines; ratios say less then."""
    old, lines = stored["machine"], []
    for key in ("name", "device", "threads"):
        if old.get(key) != machine[key]:
            lines.append(f"another {key} than in the stored run: {machine[key]}, was {old[key]}")
    versions = old.get("versions", {})
    for package in sorted(versions.keys() | machine["versions"].keys()):
        before, now = versions.get(package, "none"), machine["versions"].get(package, "none")
        if before != now and package != "gpurnn":
            lines.append(f"another {package} than in the stored run: {now}, was {before}")
    return lines


def fallen(stored, rows, margin=MARGIN):
    """(lines on the cases that fell by more than `margin`, how many cases were compared)."""
    lines, compared = [], 0
    for row in rows:
        before = stored["ratios"].get(name_of(row))
        if before is None or not row["best_peer"]:
            continue
        compared += 1
        now = row["speed_vs_best_peer"]
        if now < (1 - margin) * before["ratio"]:
            lines.append(
                f"{name_of(row)}: {number(now)} x {row['best_peer']}, "
                f"was {number(before['ratio'])} x {before['best_peer']}"
            )
    return lines, compared
