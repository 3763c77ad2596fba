"""The examples learn what they say they learn."""

import importlib.util
from pathlib import Path

import pytest


def load(name):
    path = Path(__file__).parent.parent / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_rtrl_learns_online(capsys):
    """A guess costs 1 bit; every method falls far below it within fewer steps than the example."""
    losses = load("rtrl_online").main(steps=1200)
    assert losses["exact"] < 0.1
    assert all(loss < 0.6 for loss in losses.values()), losses
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_elman_finds_the_syllables(capsys):
    consonants, vowels = load("elman_letters").main(updates=60)
    assert vowels < 0.2
    assert consonants == pytest.approx(1.58, abs=0.2)  # log2 of three that are as likely
    assert "bits a letter" in capsys.readouterr().out


def test_jordan_moves_by_plans(capsys):
    """Standing still at the best place costs 0.32."""
    assert load("jordan_plans").main(updates=1000) < 0.1
    assert "circle" in capsys.readouterr().out


def test_digits_are_sorted(capsys):
    """Nobody sorts by chance; the example itself trains three times as long."""
    assert load("sort_digits").main(updates=160) > 0.5
    assert "new strings sorted" in capsys.readouterr().out


def test_words_are_heard(capsys):
    """By chance one word in a hundred would be; the example itself trains twice as long."""
    assert load("ctc_alignment").main(updates=100) > 0.6
    assert "new words heard rightly" in capsys.readouterr().out


def test_symbols_are_kept_through_noise(capsys):
    """By chance one in four would be said rightly; the example itself trains twice as long."""
    assert load("long_memory").main(updates=150, kinds=("MinGRU",))["MinGRU"] > 0.6
    assert "said rightly" in capsys.readouterr().out


def test_syntax_trees_are_read(capsys):
    """The example itself trains four times as long."""
    right, baseline = load("python_trees").main(updates=100)
    assert baseline < 0.25
    assert right > 0.4
    assert "new roots told" in capsys.readouterr().out


def test_own_cell_learns(capsys):
    """A guess costs 1 bit."""
    losses = load("own_cell").main(updates=100)
    assert all(loss < 0.3 for loss in losses.values()), losses
    assert "def gate_backward(" in capsys.readouterr().out


def test_units_learn_how_slow_they_are(capsys):
    """Always to say 0 costs 1; the example itself trains four times as long."""
    errors = load("time_constants").main(updates=120)
    assert errors["leaky_unit"][1] < 0.15
    assert errors["leaky_unit"][1] < errors["rnn_tanh"][1] / 2
    assert "steps remembered" in capsys.readouterr().out


def test_own_tree_cell_turns_signs(capsys):
    """The example itself trains four times as long, in which a Tree-LSTM learns it too."""
    left = load("own_tree_cell").main(updates=100)
    assert left["signed gates"] < 0.2
    assert left["signed gates"] < left["Tree-LSTM"] / 2
    assert "derivatives right" in capsys.readouterr().out


def test_brackets_find_their_partners(capsys):
    """From one side two of three opening ones are guessed. The example trains longer."""
    told = load("match_brackets").main(updates=60)
    assert told["one direction"][0] < 0.8
    assert min(told["one direction"][1], *told["both directions"]) > 0.95
    assert "told rightly" in capsys.readouterr().out
