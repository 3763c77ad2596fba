"""The training loop: truncated back-propagation through time over parallel streams."""

import math
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from gpurnn.arrays import to_device, to_numpy
from gpurnn.learning.checkpoint import (
    CheckpointError,
    part_of,
    random_state,
    restore_random_state,
    write_checkpoint,
)
from gpurnn.learning.clipping import clip_grad_norm
from gpurnn.learning.interruption import Interrupted, Interruption
from gpurnn.learning.schedules import ReduceOnPlateau

LOG_EVERY = 10
"""Steps from one line of the metrics log to the next."""


class NonFiniteLoss(ArithmeticError):
    """The loss, the gradient or a parameter became NaN or infinite."""


@dataclass
class Position:
    """Where training stands: `chunk` chunks of epoch `epoch` (from 0) are done."""

    epoch: int = 0
    chunk: int = 0
    step: int = 0
    epoch_loss: float = 0.0
    best: float | None = None
    epochs_since_best: int = 0


class Trainer:
    """Trains a model and can stop and go on at any step, bit for bit.

    model: has `params`, `grads`, `zero_grads()`, `rng`, `device`, `state_dict()`,
        `load_state_dict(d)`; `loss(inputs, targets, state) -> loss, state, backward` and
        `evaluate(inputs, targets, state) -> loss, state`, losses being means in nats.
    optimizer, schedule: of `gpurnn.learning`; the schedule is called with each step's number,
        `ReduceOnPlateau` with each epoch's held-out loss.
    training, held_out: `gpurnn.data.streams.Streams` on the model's device.
    epochs: how many times to go through `training` in all, the ones before a resume included.
    max_norm: clip the gradient's norm to this (None: do not).
    patience: stop after so many epochs without a better held-out loss (None: never).
    folder: where `last.safetensors` (after each epoch, and every `save_seconds`) and
        `best.safetensors` (lowest held-out loss) go (None: nowhere).
    description: JSON-able dict that is put into the checkpoints.
    log: a MetricsLog (None: none).
    report: called after each epoch with a dict of its results (losses in bits).
    progress: show a progress bar on a terminal.
    """

    def __init__(
        self, model, optimizer, schedule, training, held_out, *, epochs, max_norm=None,
        patience=None, folder=None, save_seconds=600, description=None, log=None, report=None,
        progress=False,
    ):  # fmt: skip
        self.model = model
        self.optimizer = optimizer
        self.schedule = schedule
        self.training = training
        self.held_out = held_out
        self.epochs = epochs
        self.max_norm = math.inf if max_norm is None else max_norm
        self.patience = patience
        self.folder = None if folder is None else Path(folder)
        self.save_seconds = save_seconds
        self.description = description or {}
        self.log = log
        self.report = report
        self.progress = progress
        self.position = Position()
        self.state = None
        self.saved = None  # what to tell of the last good checkpoint
        self._saved_at = time.monotonic()

    # --- the loop -----------------------------------------------------------------------------

    def run(self):
        """Train up to `epochs`; False if that ended early for lack of progress, else True.

        Raises NonFiniteLoss, with the last good checkpoint kept; on Ctrl-C (or SIGTERM) saves
        a checkpoint and raises Interrupted.
        """
        with Interruption() as interruption:
            while self.position.epoch < self.epochs:
                if self._out_of_patience():
                    return False
                self._run_epoch(interruption)
        return True

    def _out_of_patience(self):
        return self.patience is not None and self.position.epochs_since_best >= self.patience

    def _run_epoch(self, interruption):
        position, first, start = self.position, self.position.chunk, time.perf_counter()
        with self._bar() as bar:
            while position.chunk < len(self.training):
                loss = self.step()
                if bar is not None:
                    bar.update()
                    bar.set_postfix_str(f"{loss / math.log(2):.3f} bits", refresh=False)
                self._stop_if(interruption)
                if time.monotonic() - self._saved_at > self.save_seconds:
                    self.save("last")
        seconds = time.perf_counter() - start
        held_out = self.evaluate(interruption)
        self._finish_epoch(held_out, self._characters(first), seconds)

    def _bar(self):
        if not self.progress:
            return nullcontext()
        from tqdm import tqdm

        return tqdm(
            desc=f"epoch {self.position.epoch + 1}/{self.epochs}",
            initial=self.position.chunk,
            total=len(self.training),
            unit="step",
            leave=False,
            disable=None,  # not a terminal: no bar
        )

    def step(self):
        """One chunk: loss, gradients, clipping, update. Returns the loss in nats."""
        position = self.position
        if not isinstance(self.schedule, ReduceOnPlateau):
            self.schedule(position.step)
        self.model.zero_grads()
        inputs, targets = self.training[position.chunk]
        loss, state, backward = self.model.loss(inputs, targets, self.state)
        backward()
        norm = clip_grad_norm(self.model, self.max_norm)
        loss = float(loss)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise self._not_finite(f"the loss is {loss} and the gradient's norm {norm}")
        self.optimizer.step()
        self.state = state
        position.chunk += 1
        position.step += 1
        position.epoch_loss += loss * len(inputs)
        if self.log and position.step % LOG_EVERY == 0:
            self.log.write(
                event="step",
                epoch=position.epoch + 1,
                step=position.step,
                bits_per_character=loss / math.log(2),
                gradient_norm=norm,
                learning_rate=self.optimizer.lr,
            )
        return loss

    def evaluate(self, interruption=None):
        """The mean held-out loss in nats, the state carried from chunk to chunk."""
        total, state = 0.0, None
        for chunk in range(len(self.held_out)):
            inputs, targets = self.held_out[chunk]
            loss, state = self.model.evaluate(inputs, targets, state)
            total += float(loss) * len(inputs)
            if interruption is not None:
                self._stop_if(interruption)
        return total / self.held_out.length

    def _finish_epoch(self, held_out, characters, seconds):
        if not math.isfinite(held_out):
            raise self._not_finite(f"the held-out loss is {held_out}")
        position = self.position
        result = {
            "epoch": position.epoch + 1,
            "step": position.step,
            "training_bits": position.epoch_loss / self.training.length / math.log(2),
            "held_out_bits": held_out / math.log(2),
            "learning_rate": self.optimizer.lr,
            "characters_per_second": characters / seconds if characters else None,
            "seconds": seconds,
        }
        if isinstance(self.schedule, ReduceOnPlateau):
            self.schedule(held_out)
        improved = position.best is None or held_out < position.best
        position.best = held_out if improved else position.best
        position.epochs_since_best = 0 if improved else position.epochs_since_best + 1
        position.epoch += 1
        position.chunk = 0
        position.epoch_loss = 0.0
        self.state = None
        if improved:
            self.save("best")
        self.save("last")
        if self.log:
            self.log.write(event="epoch", **result)
        if self.report:
            self.report(result)

    def _characters(self, first_chunk):
        """How many characters the chunks from `first_chunk` to here have."""
        done = min(self.position.chunk * self.training.steps, self.training.length)
        return (done - first_chunk * self.training.steps) * self.training.batch_size

    def _stop_if(self, interruption):
        if interruption.signal is not None:
            self.save("last")
            raise Interrupted(f"interrupted in {self._where()}{self._kept()}", interruption.signal)

    def _where(self):
        return f"epoch {self.position.epoch + 1}, after step {self.position.step}"

    def _kept(self):
        return f"; {self.saved}" if self.saved else ""

    def _not_finite(self, what):
        return NonFiniteLoss(
            f"{what} in {self._where()} (learning rate {self.optimizer.lr:g}){self._kept()}"
        )

    # --- checkpoints --------------------------------------------------------------------------

    def save(self, name):
        """Write `name`.safetensors to the folder, if there is one.

        NonFiniteLoss instead, and the old file stays, if a parameter is not finite.
        """
        if self.folder is None:
            return
        tensors, numbers = self.snapshot()
        if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
            raise self._not_finite("a parameter is not finite")
        path = self.folder / f"{name}.safetensors"
        write_checkpoint(path, tensors, {**self.description, "training": numbers})
        self.saved = f"saved: {path} ({self._where()})"
        self._saved_at = time.monotonic()

    def snapshot(self):
        """(arrays by name, JSON-able dict): all that is needed to go on from here."""
        optimizer = self.optimizer.state_dict()
        numbers = {
            "optimizer": {name: optimizer.pop(name) for name in ("step_count", "lr")},
            "schedule": self.schedule.state_dict(),
            "random": random_state(self.model.rng),
            "position": asdict(self.position),
            "state_is_tuple": isinstance(self.state, tuple),
        }
        tensors = {f"model.{name}": array for name, array in self.model.state_dict().items()}
        tensors |= {f"optimizer.{name}": array for name, array in optimizer.items()}
        if self.state is not None:
            states = self.state if isinstance(self.state, tuple) else (self.state,)
            tensors |= {f"state.{i}": to_numpy(state) for i, state in enumerate(states)}
        return tensors, numbers

    def restore(self, tensors, numbers):
        """Go on from a `snapshot`. CheckpointError if it is not one of such a model's."""
        try:
            self.model.load_state_dict(part_of(tensors, "model"))
            self.optimizer.load_state_dict(part_of(tensors, "optimizer") | numbers["optimizer"])
            self.schedule.load_state_dict(numbers["schedule"])
            restore_random_state(self.model.rng, numbers["random"])
            self.position = Position(**numbers["position"])
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"the checkpoint does not fit: {error}") from error
        states = part_of(tensors, "state")
        arrays = tuple(to_device(states[str(i)], self.model.device) for i in range(len(states)))
        self.state = arrays if numbers["state_is_tuple"] else arrays[0] if arrays else None
