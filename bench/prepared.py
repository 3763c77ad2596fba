"""What a peer hands over to be timed."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Prepared:
    """`modes`: "inference" -> f() -> (y,); "training" -> f() -> (y, dx, *grads in weight order).

    Weight order is that of `Case.numbers`. A peer without training leaves it out.
    """

    modes: dict[str, Callable[[], tuple]]
    to_numpy: Callable
