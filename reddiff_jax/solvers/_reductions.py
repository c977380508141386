"""Scales of RED-diff's data and prior term: (number of pixels n, number of measurement entries m) -> (a, b)."""

from collections.abc import Callable
from dataclasses import dataclass

Reduction = Callable[[int, int], tuple[float, float]]
"""``(n, m) -> (a, b)``."""


def pixel_units(n: int, m: int) -> tuple[float, float]:
    """Reduction: n times the mean/mean objective of one sample, i.e. (n/m, 1).

    Published lam and learning rates carry over, and no gradient is so small that Adam's epsilon matters.
    """
    return n / m, 1.0


def total(n: int, m: int) -> tuple[float, float]:
    """Reduction: sums over entries and over pixels, the paper's formula as written; lam then depends on m / n."""
    return 1.0, 1.0


@dataclass(frozen=True)
class BatchMean:
    """Reduction of the published code: means over the pixels of the whole batch, i.e. (1 / (B m), 1 / (B n)).

    With Adam's epsilon of 1e-8 results then depend on ``batch_size`` (and on the image size).
    """

    batch_size: int = 1

    def __call__(self, n: int, m: int) -> tuple[float, float]:
        """Returns the scales of the data and the prior term."""
        return 1 / (self.batch_size * m), 1 / (self.batch_size * n)
