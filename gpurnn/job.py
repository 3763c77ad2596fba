"""The main job: a character language model from a text, from its settings to its trainer."""

import hashlib
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from gpurnn.data.streams import Streams
from gpurnn.data.text import BUILT_IN_NAME, built_in_text, read_text, split_held_out
from gpurnn.data.vocabulary import Vocabulary
from gpurnn.learning.checkpoint import CheckpointError, part_of, read_checkpoint
from gpurnn.learning.optimizers import Adam
from gpurnn.learning.schedules import Cosine
from gpurnn.learning.training import Trainer
from gpurnn.models.language_model import LanguageModel


@dataclass(frozen=True)
class Settings:
    """What decides the result of training, besides the text. Kept in the checkpoint."""

    cell: str = "lstm"
    embedding: int = 64
    hidden: int = 256
    layers: int = 1
    dropout: float = 0.0
    batch: int = 32
    steps: int = 100
    epochs: int = 11
    lr: float = 4e-3
    clip: float = 1.0
    patience: int | None = None
    seed: int = 0
    dtype: str = "float32"


DEFAULTS = Settings()


class Job:
    """A text, a model and its trainer.

    settings: Settings; source: path of a text, None for the built-in one; device: "cpu" or
    "cuda"; trainer_options: passed on to the Trainer.
    ValueError if the text cannot be used.
    """

    def __init__(self, settings, source, device, **trainer_options):
        self.settings = settings
        self.source_name = BUILT_IN_NAME if source is None else str(source)
        text = built_in_text() if source is None else read_text(source)
        learned, held_out = split_held_out(text)
        _check_length(self.source_name, learned, held_out, settings.batch)
        self.digest = hashlib.sha256(text.encode("utf-8")).hexdigest()
        self.vocabulary = Vocabulary.of(text)
        self.text_length = len(text)
        self.first_word = "".join(text[:1000].split()[:1])[:20]  # samples begin with it
        encode = self.vocabulary.encode
        self.training = Streams(encode(learned), settings.batch, settings.steps, device)
        width = min(settings.batch, len(held_out) - 1)
        self.held_out = Streams(encode(held_out), width, settings.steps, device)
        self.model = _model(settings, len(self.vocabulary), device)
        self.trainer = self._trainer(source, trainer_options)

    def _trainer(self, source, options):
        settings = self.settings
        optimizer = Adam(self.model, lr=settings.lr)
        total = settings.epochs * len(self.training)
        description = {
            "settings": asdict(settings),
            "vocabulary": self.vocabulary.characters,
            "source": None if source is None else str(Path(source).absolute()),
            "digest": self.digest,
        }
        return Trainer(
            self.model,
            optimizer,
            Cosine(optimizer, total, warmup_steps=min(100, total // 20)),
            self.training,
            self.held_out,
            epochs=settings.epochs,
            max_norm=settings.clip,
            patience=settings.patience,
            description=description,
            **options,
        )

    def restore(self, path, tensors, metadata):
        """Go on from a checkpoint that `read_job` read. CheckpointError if it does not fit."""
        if metadata["digest"] != self.digest:
            raise CheckpointError(f"{path}: was trained on another text than {self.source_name}")
        total_steps = self.trainer.schedule.total_steps
        try:
            self.trainer.restore(tensors, metadata["training"])
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from error
        # Where more epochs are asked for than before, the cosine stretches over them all.
        self.trainer.schedule.total_steps = total_steps
        self.trainer.saved = f"saved: {path}"


def _check_length(name, learned, held_out, batch):
    if len(learned) <= batch or len(held_out) < 2:
        raise ValueError(
            f"{name}: too short: has {len(learned) + len(held_out)} characters; needed are "
            f"more than the batch of {batch} in the first nine tenths and 2 in the last"
        )


def _model(settings, vocabulary_size, device):
    return LanguageModel(
        vocabulary_size,
        settings.embedding,
        settings.hidden,
        cell=settings.cell,
        num_layers=settings.layers,
        dropout=settings.dropout,
        dtype=settings.dtype,
        device=device,
        rng=settings.seed,
    )


def read_job(path):
    """(arrays, metadata, Settings) of a checkpoint of such a job; CheckpointError if it is none."""
    tensors, metadata = read_checkpoint(path)
    expected = {"settings", "vocabulary", "source", "digest", "training"}
    names = {field.name for field in fields(Settings)}
    if not expected <= metadata.keys() or metadata["settings"].keys() != names:
        raise CheckpointError(f"{path}: not a checkpoint of a language model")
    return tensors, metadata, Settings(**metadata["settings"])


def load_language_model(path, device="cpu"):
    """(LanguageModel, Vocabulary) from a checkpoint; CheckpointError if it is none or broken."""
    tensors, metadata, settings = read_job(path)
    try:
        vocabulary = Vocabulary(metadata["vocabulary"])
        model = _model(settings, len(vocabulary), device)
        model.load_state_dict(part_of(tensors, "model"))
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return model, vocabulary
