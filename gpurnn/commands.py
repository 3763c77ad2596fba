"""The commands of `gpurnn`: train, generate, memory, walkthrough, info. Needs typer."""

import math
import textwrap
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from gpurnn import cuda
from gpurnn.info import describe
from gpurnn.job import DEFAULTS, Job, load_language_model, read_job
from gpurnn.learning.metrics_log import MetricsLog
from gpurnn.memory import Training
from gpurnn.memory_report import experiment
from gpurnn.models.sampling import Sampler
from gpurnn.walkthrough import describe as walk_through

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Recurrent neural networks on hand-written kernels, for CPU and CUDA.",
)

SAMPLE_LENGTH = 160
TRAINING, LAGS = Training(), [10, 20, 50, 100]


class CellName(str, Enum):
    """The recurrent cells."""

    rnn = "rnn"
    lstm = "lstm"
    gru = "gru"


class DeviceName(str, Enum):
    """Where to compute."""

    cpu = "cpu"
    cuda = "cuda"
    auto = "auto"


class DtypeName(str, Enum):
    """The type of all numbers."""

    float32 = "float32"
    float64 = "float64"


def _device(name):
    if name is DeviceName.auto:
        return "cuda" if cuda.is_available() else "cpu"
    if name is DeviceName.cuda and not cuda.is_available():
        raise ValueError(f"--device cuda: {cuda.why_not()}")
    return name.value


def _setting(name, help, **limits):
    """An option that, not given, is the default's or, with --resume, the checkpoint's."""
    default = getattr(DEFAULTS, name)
    shown = "off" if default is None else str(default)
    return typer.Option(help=help, show_default=shown, **limits)


@app.command()
def train(
    file: Annotated[
        Path | None, typer.Argument(help="UTF-8 text; without it, Python's own reference.")
    ] = None,
    cell: Annotated[CellName | None, _setting("cell", "Recurrent cell.")] = None,
    embedding: Annotated[int | None, _setting("embedding", "Embedding size.", min=1)] = None,
    hidden: Annotated[int | None, _setting("hidden", "Hidden units a layer.", min=1)] = None,
    layers: Annotated[int | None, _setting("layers", "Recurrent layers.", min=1)] = None,
    dropout: Annotated[
        float | None, _setting("dropout", "Share dropped between layers in training.", min=0)
    ] = None,
    batch: Annotated[int | None, _setting("batch", "Streams side by side.", min=1)] = None,
    steps: Annotated[
        int | None, _setting("steps", "Characters a stream between two updates.", min=1)
    ] = None,
    epochs: Annotated[int | None, _setting("epochs", "Times through the text.", min=1)] = None,
    lr: Annotated[float | None, _setting("lr", "Adam's highest learning rate.", min=0)] = None,
    clip: Annotated[
        float | None, _setting("clip", "Clip the gradient's norm to this.", min=0)
    ] = None,
    patience: Annotated[
        int | None, _setting("patience", "Epochs without progress before the end.", min=1)
    ] = None,
    seed: Annotated[int | None, _setting("seed", "Seed of all randomness.", min=0)] = None,
    dtype: Annotated[DtypeName | None, _setting("dtype", "Type of all numbers.")] = None,
    device: Annotated[DeviceName, typer.Option(help="Where to compute.")] = DeviceName.auto,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for checkpoints and metrics.", show_default="runs/1, runs/2, ..."
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(help="Go on from this checkpoint, with its settings and to its folder."),
    ] = None,
):
    """Train a character language model on a text and watch it learn to write."""
    given = {
        "cell": cell and cell.value, "embedding": embedding, "hidden": hidden, "layers": layers,
        "dropout": dropout, "batch": batch, "steps": steps, "epochs": epochs, "lr": lr,
        "clip": clip, "patience": patience, "seed": seed, "dtype": dtype and dtype.value,
    }  # fmt: skip
    given = {name: value for name, value in given.items() if value is not None}
    place = _device(device)
    settings, checkpoint = DEFAULTS, None
    if resume is not None:
        resume = _checkpoint_in(resume, "last")
        *checkpoint, settings = read_job(resume)
        _check_same(given, settings, resume)
        if file is None and checkpoint[1]["source"] is not None:
            file = Path(checkpoint[1]["source"])
    settings = replace(settings, **given)
    job = Job(settings, file, place, progress=True)
    trainer = job.trainer
    if checkpoint is not None:
        job.restore(resume, *checkpoint)
        if trainer.position.epoch >= settings.epochs:
            raise ValueError(
                f"{resume}: has all its {trainer.position.epoch} epochs: ask for more with --epochs"
            )
    trainer.folder = resume.parent if resume is not None and out is None else _new_folder(out)
    trainer.report = lambda result: _report(job, result)
    _introduce(job, place)
    with MetricsLog(trainer.folder / "metrics.jsonl") as log:
        trainer.log = log
        complete = trainer.run()
    if not complete:
        print(f"stopped early: no better held-out loss in {settings.patience} epochs")
    print(f"best: {trainer.position.best / math.log(2):.3f} bits/char on held-out text")
    print(f"write with it: gpurnn generate {trainer.folder} --length 500")


def _checkpoint_in(path, name):
    """`path`, or where it is a folder, the checkpoint `name` in it."""
    return path / f"{name}.safetensors" if path.is_dir() else path


def _check_same(given, settings, path):
    """An option beside --resume may say what the checkpoint says; only --epochs may differ."""
    for name, value in given.items():
        kept = getattr(settings, name)
        if value != kept and name != "epochs":
            raise ValueError(f"--{name} {value}: {path} was trained with {kept}; leave it out")


def _new_folder(out):
    """The folder for a new run, made; ValueError if it holds a checkpoint that would be lost."""
    if out is None:
        number = 1
        while Path("runs", str(number)).exists():
            number += 1
        out = Path("runs", str(number))
    kept = out / "last.safetensors"
    if kept.exists():
        raise ValueError(f"--out {out}: holds {kept.name}: take another folder, or --resume {out}")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--out {out}: cannot be made: {error.strerror}") from error
    return out


def _introduce(job, place):
    settings, training, position = job.settings, job.training, job.trainer.position
    pairs = training.length * training.batch_size
    dropped = training.dropped + job.held_out.dropped
    size = sum(parameter.size for parameter in job.model.params.values())
    print(
        f"text      {job.source_name}: {job.text_length:,} characters, {len(job.vocabulary)} "
        f"different; {pairs:,} to learn from, the last tenth held out, {dropped} left over"
    )
    print(
        f"model     embedding {settings.embedding}, {settings.cell} {settings.layers} x "
        f"{settings.hidden}: {size:,} parameters, {settings.dtype} on {place}"
    )
    print(
        f"training  {settings.epochs} epochs of {len(training)} steps of {settings.batch} x "
        f"{settings.steps} characters; to {job.trainer.folder}"
    )
    if position.step:
        print(f"resumed   in epoch {position.epoch + 1}, after step {position.step}")
    print(flush=True)


def _report(job, result):
    speed = result["characters_per_second"]
    print(
        f"epoch {result['epoch']:>3}/{job.settings.epochs}"
        f"   held out {result['held_out_bits']:.3f} bits/char"
        f"   training {result['training_bits']:.3f}"
        + (f"   {speed:>9,.0f} chars/s" if speed else "")
        + f"   {result['seconds']:.1f} s"
    )
    sampler = Sampler(temperature=0.7, rng=result["step"])
    sample = _write(job.model, job.vocabulary, job.first_word, SAMPLE_LENGTH, sampler)
    print(textwrap.indent(sample, "    | ", predicate=lambda line: True))
    print(flush=True)


def _write(model, vocabulary, prompt, length, sampler):
    """The prompt and what the model writes after it."""
    start = prompt or ("\n" if "\n" in vocabulary.characters else vocabulary.characters[0])
    codes = model.generate(vocabulary.encode(start), length, sampler)
    return prompt + vocabulary.decode(codes)


@app.command()
def generate(
    checkpoint: Annotated[
        Path, typer.Argument(help="A checkpoint, or the folder of a run (its best one).")
    ],
    prompt: Annotated[str, typer.Option(help="Text to go on from.")] = "",
    length: Annotated[int, typer.Option(help="Characters to write.", min=1)] = 500,
    temperature: Annotated[
        float, typer.Option(help="Below 1: safer; 0: always the likeliest.", min=0)
    ] = 0.7,
    top_k: Annotated[int | None, typer.Option(help="Only the k likeliest.", min=1)] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Only the likeliest that make up this probability.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="For the same text again.", min=0, show_default="random")
    ] = None,
    device: Annotated[DeviceName, typer.Option(help="Where to compute.")] = DeviceName.auto,
):
    """Write text with a trained model."""
    sampler = Sampler(temperature, top_k, top_p, seed)
    path = _checkpoint_in(checkpoint, "best")
    model, vocabulary = load_language_model(path, _device(device))
    print(_write(model, vocabulary, prompt, length, sampler))


class TaskName(str, Enum):
    """The tasks of memory."""

    adding = "adding"
    copy = "copy"


@app.command()
def memory(
    task: Annotated[list[TaskName], typer.Option(help="Task; may come again.")] = list(TaskName),
    cell: Annotated[list[CellName], typer.Option(help="Cell; may come again.")] = list(CellName),
    lag: Annotated[list[int], typer.Option(help="Lag; may come again.", min=2)] = LAGS,
    hidden: Annotated[int, typer.Option(help="Hidden units.", min=1)] = TRAINING.hidden,
    batch: Annotated[int, typer.Option(help="Sequences an update.", min=1)] = TRAINING.batch,
    updates: Annotated[int, typer.Option(help="At most.", min=1)] = TRAINING.updates,
    lr: Annotated[float, typer.Option(help="Adam's learning rate.", min=0)] = TRAINING.lr,
    seed: Annotated[int, typer.Option(help="Seed of all randomness.", min=0)] = TRAINING.seed,
    device: Annotated[DeviceName, typer.Option(help="Where to compute.")] = DeviceName.cpu,
    out: Annotated[Path, typer.Option(help="Folder for the picture and the numbers.")] = Path(
        "memory"
    ),
):
    """Find out by experiment how far back each network remembers."""
    training = Training(hidden, batch, updates, lr, seed=seed, device=_device(device))
    tasks, cells = ([choice.value for choice in chosen] for chosen in (task, cell))
    experiment(tasks, lag, cells, training, out)


@app.command()
def walkthrough(
    digits: Annotated[int, typer.Option(help="Digits after the point.", min=1, max=15)] = 6,
):
    """Compute a small network and its gradients by hand, number by number."""
    print(walk_through(digits))


@app.command()
def info():
    """Say which versions and devices there are, and whether CUDA would work."""
    print(describe())
