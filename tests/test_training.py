"""The training loop: learning, resuming bit for bit, stopping for every reason."""

import json
import math
import os
import signal

import numpy as np
import pytest

from gpurnn.arrays import to_numpy
from gpurnn.data.streams import Streams
from gpurnn.learning.checkpoint import CheckpointError, read_checkpoint
from gpurnn.learning.interruption import Interrupted
from gpurnn.learning.metrics_log import MetricsLog
from gpurnn.learning.optimizers import Adam
from gpurnn.learning.schedules import Constant, Cosine, ReduceOnPlateau
from gpurnn.learning.training import NonFiniteLoss, Trainer
from gpurnn.models.language_model import LanguageModel


def make_trainer(folder=None, *, seed=0, device="cpu", hidden=8, schedule=None, **options):
    """A tiny language model on a text whose next character follows from the one before."""
    model = LanguageModel(
        5, 4, hidden, cell=options.pop("cell", "lstm"), num_layers=2,
        dropout=options.pop("dropout", 0.2), device=device, rng=seed,
    )  # fmt: skip
    codes = (np.arange(402) % 5).astype(np.int32)
    optimizer = Adam(model, lr=0.02)
    schedule = schedule or (lambda o: Cosine(o, total_steps=40, warmup_steps=4))
    return Trainer(
        model,
        optimizer,
        schedule(optimizer),
        Streams(codes[:330], 4, 9, device),
        Streams(codes[330:], 3, 9, device),
        folder=folder,
        **{"epochs": 4, "max_norm": 1.0} | options,
    )


def everything(trainer):
    tensors, numbers = trainer.snapshot()
    return {name: array.tolist() for name, array in tensors.items()} | numbers


def test_learns(device):
    results = []
    # The predicted character is certain; the model's guess at first is one in five.
    trainer = make_trainer(
        dropout=0.0, epochs=15, device=device, hidden=16, schedule=Constant, report=results.append
    )
    assert trainer.run()
    assert results[0]["held_out_bits"] > 1.0
    assert results[-1]["held_out_bits"] < 0.3
    assert results[-1]["training_bits"] < 0.3
    assert [result["epoch"] for result in results] == list(range(1, 16))


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_resuming_continues_bit_for_bit(tmp_path, cell):
    """N steps equal k steps, a checkpoint, a new model, and N - k steps."""
    whole = make_trainer(cell=cell)
    assert whole.run()
    first = make_trainer(tmp_path, cell=cell)
    for _ in range(3):
        first.step()
    first.save("last")
    second = make_trainer(cell=cell, seed=99)
    tensors, metadata = read_checkpoint(tmp_path / "last.safetensors")
    second.restore(tensors, metadata["training"])
    assert second.run()
    assert everything(second) == everything(whole)


def test_resuming_on_cuda(tmp_path, device):
    first = make_trainer(tmp_path, device=device, epochs=1)
    for _ in range(3):
        first.step()
    first.save("last")
    second = make_trainer(seed=99, device=device, epochs=1)
    tensors, metadata = read_checkpoint(tmp_path / "last.safetensors")
    second.restore(tensors, metadata["training"])
    for trainer in (first, second):
        trainer.step()
    assert everything(second) == everything(first)


@pytest.mark.cuda
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_cuda_gives_the_losses_of_the_cpu(cell):
    """Twenty steps, dropout included: the seed decides what is dropped, not the device."""
    losses = []
    for device in ("cpu", "cuda"):
        trainer = make_trainer(device=device, cell=cell)
        losses.append([])
        for step in range(20):
            trainer.position.chunk = step % len(trainer.training)
            losses[-1].append(trainer.step())
    on_cpu, on_cuda = losses
    np.testing.assert_allclose(on_cuda, on_cpu, rtol=1e-5)


def test_the_state_is_carried_from_chunk_to_chunk():
    trainer = make_trainer()
    seen = []
    loss = trainer.model.loss

    def spy(inputs, targets, state):
        result = loss(inputs, targets, state)
        seen.append((state, result[1]))
        return result

    trainer.model.loss = spy
    trainer.step()
    trainer.step()
    assert seen[0][0] is None
    assert all(a is b for a, b in zip(seen[1][0], seen[0][1]))


def test_held_out_loss_does_not_depend_on_the_chunks():
    whole, parts = make_trainer(), make_trainer()
    whole.held_out.steps = whole.held_out.length
    assert parts.evaluate() == pytest.approx(whole.evaluate(), rel=1e-5)


def test_writes_checkpoints_and_a_log(tmp_path):
    with MetricsLog(tmp_path / "metrics.jsonl") as log:
        trainer = make_trainer(tmp_path, log=log, description={"hello": "world"})
        assert trainer.run()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    epochs = [line for line in lines if line["event"] == "epoch"]
    steps = [line for line in lines if line["event"] == "step"]
    assert [line["epoch"] for line in epochs] == [1, 2, 3, 4]
    assert [line["step"] for line in steps] == [10, 20, 30, 40]
    assert all(line["gradient_norm"] > 0 for line in steps)
    best = min(line["held_out_bits"] for line in epochs)
    for name in ("best", "last"):
        metadata = read_checkpoint(tmp_path / f"{name}.safetensors")[1]
        assert metadata["hello"] == "world"
        assert metadata["training"]["position"]["best"] / math.log(2) == pytest.approx(best)
    assert metadata["training"]["position"]["epoch"] == 4
    assert sorted(os.listdir(tmp_path)) == ["best.safetensors", "last.safetensors", "metrics.jsonl"]


def test_saves_within_a_long_epoch(tmp_path):
    trainer = make_trainer(tmp_path, save_seconds=0.0)
    names = []
    trainer.save = names.append
    trainer.run()
    assert names.count("last") == 4 * (len(trainer.training) + 1)


def test_early_stopping_and_plateau():
    trainer = make_trainer(
        epochs=50, patience=3, schedule=lambda o: ReduceOnPlateau(o, factor=0.5, patience=0)
    )
    trainer.evaluate = lambda interruption: 1.0
    assert not trainer.run()
    assert trainer.position.epoch == 4
    assert trainer.optimizer.lr == 0.02 * 0.5**3


def test_nan_stops_says_where_and_keeps_the_last_good_checkpoint(tmp_path):
    trainer = make_trainer(tmp_path)
    trainer.step()
    trainer.save("last")
    before = (tmp_path / "last.safetensors").read_bytes()
    trainer.step()
    trainer.model.params["output.bias"][2] = np.nan
    with pytest.raises(
        NonFiniteLoss, match=r"is nan .* in epoch 1, after step 2 .*last.safetensors .*step 1\)"
    ):
        trainer.run()
    with pytest.raises(NonFiniteLoss, match="a parameter is not finite"):
        trainer.save("last")
    assert (tmp_path / "last.safetensors").read_bytes() == before


def test_nan_gradient_does_not_reach_the_parameters():
    trainer = make_trainer()
    before = trainer.model.state_dict()
    loss = trainer.model.loss

    def poisoned(*arguments):
        value, state, backward = loss(*arguments)

        def nan_backward():
            backward()
            trainer.model.grads["output.bias"][0] = np.nan

        return value, state, nan_backward

    trainer.model.loss = poisoned
    with pytest.raises(NonFiniteLoss, match="gradient's norm nan"):
        trainer.run()
    for name, array in before.items():
        assert np.array_equal(to_numpy(trainer.model.params[name]), array)


@pytest.mark.parametrize("where", ["training", "evaluation"])
def test_interrupted_run_continues_bit_for_bit(tmp_path, where):
    whole = make_trainer()
    whole.run()
    first = make_trainer(tmp_path)
    name = "loss" if where == "training" else "evaluate"
    method, calls = getattr(first.model, name), []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return method(*arguments)

    setattr(first.model, name, interrupted)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match="interrupted in epoch 1, .*last.safetensors") as caught:
        first.run()
    assert caught.value.signal == signal.SIGINT
    assert signal.getsignal(signal.SIGINT) is handler
    second = make_trainer(seed=99)
    tensors, metadata = read_checkpoint(tmp_path / "last.safetensors")
    second.restore(tensors, metadata["training"])
    assert second.run()
    assert everything(second) == everything(whole)


def test_a_second_signal_acts_at_once():
    trainer = make_trainer()

    def twice(*arguments):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    trainer.model.loss = twice
    # A shell lets what it starts in the background ignore the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            trainer.run()
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, n: t.pop("model.output.bias"), "output.bias"),
        (lambda t, n: t.update({"optimizer.output.bias.exp_avg": np.zeros(9)}), "exp_avg"),
        (lambda t, n: n.pop("schedule"), "schedule"),
        (lambda t, n: n["schedule"].pop("floor"), "floor"),
        (lambda t, n: n["position"].update(strange=1), "strange"),
        (lambda t, n: n["random"].update(bit_generator="Philox"), "Philox"),
    ],
)
def test_checkpoint_that_does_not_fit(change, message):
    tensors, numbers = make_trainer().snapshot()
    change(tensors, numbers)
    with pytest.raises(CheckpointError, match=f"the checkpoint does not fit: .*{message}"):
        make_trainer().restore(tensors, numbers)


def test_checkpoint_of_another_size():
    with pytest.raises(CheckpointError, match="does not fit"):
        make_trainer(hidden=9).restore(*make_trainer().snapshot())
