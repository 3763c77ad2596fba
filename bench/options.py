"""Reading the options that several of the benches share."""

import argparse

from bench.threads import usable_cores


def sizes(letters):
    """A parser of as many whole numbers as letters: sizes("T,B,I,H")("100,1,64,64")."""
    count = len(letters.split(","))

    def parse(text):
        try:
            numbers = tuple(int(part) for part in text.split(","))
        except ValueError:
            numbers = ()
        if len(numbers) != count or min(numbers) < 1:
            raise argparse.ArgumentTypeError(f"expected {letters}, whole numbers, got {text!r}")
        return numbers

    return parse


def positive(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def add_common(parser, rounds, seconds):
    parser.add_argument("--rounds", type=positive, default=rounds, help="at most, a case")
    parser.add_argument("--seconds", type=positive, default=seconds, help="at most, a case")
    parser.add_argument("--threads", type=positive, default=usable_cores())
