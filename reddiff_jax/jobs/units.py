"""Units of work: one sample of one picture, or of one of its regions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from reddiff_jax import masks
from reddiff_jax.jobs.framing import corner
from reddiff_jax.jobs.planning import Plan
from reddiff_jax.jobs.regions import Region, pasted
from reddiff_jax.measurements import Measurement
from reddiff_jax.operators import Operator
from reddiff_jax.problems import Problem


@dataclass
class Unit:
    """One sample of one picture, or of one of its regions."""

    plan: Plan
    measurement: Measurement  # the picture's
    region: Region
    problem: Problem
    place: tuple[slice, slice]  # of the region in what is restored
    sample: int
    key: jax.Array
    residual_scale: float  # a frame's residual is zero where nothing was measured

    @property
    def identity(self) -> dict[str, Any]:
        """What it is, for logs."""
        at = {"region": [self.region.top, self.region.left]} if self.plan.in_regions else {}
        return {"name": self.plan.item.name, "sample": self.sample, **at}

    def picture(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        """The picture that a sample's parts make."""
        if not self.plan.keeps_seen:
            return parts[0]
        return pasted(self.measurement.y, self.measurement.arrays["mask"], self.plan.regions, parts)


@dataclass
class Restored:
    """A unit's result."""

    x: np.ndarray  # (h, w, C), of the region
    residual: float
    seconds: float


def pose(plan: Plan, measurement: Measurement, shared: Operator | None) -> list[tuple[Region, Problem, Any]]:
    """The inverse problem of each region of a picture, and where the region lies in what is restored."""
    posed = []
    for region in plan.regions:
        part = region.measured(measurement)
        top, left = corner(part, plan.frame)
        height, width = region.height, region.width
        place = slice(top, top + height), slice(left, left + width)
        posed.append((region, plan.pose(part, shared), place))
    return posed


def units_of(
    plan: Plan, measurement: Measurement, posed: Sequence[tuple[Region, Problem, Any]], *, samples: int, seed: int
) -> Iterator[Unit]:
    """The units of one picture, whose random numbers depend on (seed, its name, the region, the sample) alone.

    Args:
        plan: The picture's.
        measurement: The picture's.
        posed: Its regions' problems: see ``pose``.
        samples: How many there are of the picture.
        seed: Seed.
    """
    key = masks.key_of(plan.item.stem, seed)
    for k in range(samples):
        for region, problem, place in posed:
            own = key
            if plan.in_regions:
                own = jax.random.fold_in(jax.random.fold_in(key, region.top), region.left)
            size = np.prod(region.header(plan.header).y_shape)
            scale = float((np.prod(plan.frame.y_shape) / size) ** 0.5)
            yield Unit(plan, measurement, region, problem, place, k, jax.random.fold_in(own, k), scale)
