"""The examples of attention and of CTC learn what they say they learn."""

import importlib.util
from pathlib import Path


def load(name):
    path = Path(__file__).parent.parent / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_digits_are_sorted(capsys):
    """Nobody sorts by chance; the example itself trains three times as long."""
    assert load("sort_digits").main(updates=160) > 0.5
    assert "new strings sorted" in capsys.readouterr().out


def test_words_are_heard(capsys):
    """By chance one word in a hundred would be; the example itself trains twice as long."""
    assert load("ctc_alignment").main(updates=100) > 0.6
    assert "new words heard rightly" in capsys.readouterr().out
