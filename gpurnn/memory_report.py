"""The experiment of memory from its runs to its table and picture. Needs tqdm."""

from importlib.util import find_spec

import numpy as np
from tqdm import tqdm

from gpurnn.analysis import plot_gradient_norms
from gpurnn.learning.metrics_log import MetricsLog
from gpurnn.memory import SOLVED, TASKS, measure


def experiment(tasks, lags, cells, training, folder):
    """Measure every cell on every task and lag; print the table.

    Writes folder/memory.jsonl, a line as each run ends, and memory.png where there is matplotlib.
    ValueError if the folder holds numbers already, OSError if it cannot be made.
    """
    numbers, picture = folder / "memory.jsonl", folder / "memory.png"
    if numbers.exists():
        raise ValueError(f"--out {folder}: holds {numbers.name}: take another folder")
    folder.mkdir(parents=True, exist_ok=True)
    runs = [(task, cell, lag) for task in tasks for lag in sorted(set(lags)) for cell in cells]
    results = []
    with MetricsLog(numbers) as log:
        for run in runs:
            results.append(_watched(run, training))
            log.write(**results[-1])
    print(table(results))
    if find_spec("matplotlib") is None:
        print("no picture: matplotlib is not installed: pip install 'gpurnn[plot]'")
    else:
        draw_picture(results, picture)
        print(f"picture: {picture}")


def _watched(run, training):
    """`measure`, behind a bar on a terminal."""
    task, cell, lag = run
    title = f"{task} {lag} {cell}"
    with tqdm(total=training.updates, desc=title, leave=False, disable=None) as bar:

        def progress(loss):
            bar.set_postfix(held_out=f"{loss:.3f}", refresh=False)
            bar.update()

        return measure(task, cell, lag, training, progress)


def table(results):
    """The held-out losses as lines of text: a row a task and lag, a column a cell."""
    cells = list(dict.fromkeys(result["cell"] for result in results))
    found = {(r["task"], r["lag"], r["cell"]): r for r in results}
    lines = [f"{'task':<8}{'lag':>5}{'baseline':>10}" + "".join(f"{c:>22}" for c in cells)]
    for task, lag in dict.fromkeys((r["task"], r["lag"]) for r in results):
        entries = "".join(f"{_entry(found[task, lag, cell]):>22}" for cell in cells)
        lines.append(f"{task:<8}{lag:>5}{TASKS[task].baseline:>10.3f}{entries}")
    return "\n".join(lines)


def _entry(result):
    words = f"solved at {result['updates_taken']}" if result["solved"] else "not solved"
    return f"{result['held_out']:.3f} {words}"


def draw_picture(results, path):
    """Write the picture: by task the loss over the lag, and the gradient by lag at the longest.

    Needs matplotlib.
    """
    from matplotlib.figure import Figure

    tasks = list(dict.fromkeys(result["task"] for result in results))
    figure = Figure(figsize=(11, 4 * len(tasks)), layout="constrained")
    for row, task in zip(figure.subplots(len(tasks), 2, squeeze=False), tasks):
        of_task = [result for result in results if result["task"] == task]
        _draw_losses(row[0], of_task, TASKS[task])
        longest = max(result["lag"] for result in of_task)
        norms = {
            result["cell"]: np.array(result["gradient_norms"])[:, None]
            for result in of_task
            if result["lag"] == longest
        }
        plot_gradient_norms(norms, row[1]).set_title(f"{task}, lag {longest}, after training")
    figure.savefig(path, dpi=120)


def _draw_losses(axes, results, task):
    for cell in dict.fromkeys(result["cell"] for result in results):
        of_cell = sorted((r["lag"], r["held_out"]) for r in results if r["cell"] == cell)
        axes.plot(*zip(*of_cell), "o-", label=cell)
    axes.axhline(task.baseline, color="grey", ls="--", label=task.baseline_name)
    axes.axhline(SOLVED * task.baseline, color="grey", ls=":", label="solved")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("lag")
    axes.set_ylabel("held-out loss")
    axes.set_title(results[0]["task"])
    axes.legend()
