"""Two methods on the same pictures: the mean difference and how sure it is, the share won, the worst picture."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000
LEVEL = 0.95


@dataclass(frozen=True)
class Paired:
    """Differences of two methods picture by picture, in the unit of the values, positive where the first is better.

    Args (fields):
        mean: Of the differences.
        low: Lower end of the interval of the mean.
        high: Upper end.
        won: Number of pictures on which the first is better.
        count: Number of pictures.
        worst: Name of the picture on which the first does worst against the second.
        worst_difference: The difference there.
    """

    mean: float
    low: float
    high: float
    won: int
    count: int
    worst: str
    worst_difference: float


def paired(first: Mapping[str, float], second: Mapping[str, float]) -> Paired:
    """Compares values by picture, higher ones being better.

    The interval is the bootstrap's percentile interval of the mean difference (Efron 1979): pictures are drawn anew
    with replacement, both methods' values together. Of few pictures it is too narrow: it knows no others.

    Raises:
        ValueError: If the pictures are not the same, or there are none.
    """
    if first.keys() != second.keys() or not first:
        raise ValueError(f"paired: {sorted(first)} and {sorted(second)} must be the same pictures, one at least.")
    names = list(first)
    differences = np.array([first[name] - second[name] for name in names])
    drawn = np.random.default_rng(0).integers(len(names), size=(RESAMPLES, len(names)))
    low, high = np.quantile(differences[drawn].mean(axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    worst = int(differences.argmin())
    return Paired(
        mean=float(differences.mean()),
        low=float(low),
        high=float(high),
        won=int((differences > 0).sum()),
        count=len(names),
        worst=names[worst],
        worst_difference=float(differences[worst]),
    )
