"""Weights of RED-diff's prior term at a level: by the signal-to-noise ratio, or by the measurement noise.

A weight at a level is two numbers: w of ``eps_hat - c eps``, and kappa = w / r of the pull ``r (eps_hat - c eps)`` in
pixel units, r = sigma_t / alpha_t, which stands beside A^T A.
"""

import abc
from collections.abc import Callable
from typing import ClassVar

import jax
from flax import struct

from reddiff_jax.problem import Problem
from reddiff_jax.solvers._base import known_sigma_y
from reddiff_jax.solvers._levels import REMEDY
from reddiff_jax.weightings import Weighting

AtLevel = Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
"""``(alpha_t, sigma_t) -> (w, kappa)``."""


@struct.dataclass
class Weight(abc.ABC):
    """How much the prior counts at a level."""

    follow_noise: ClassVar[bool] = False  # whether sigma_y and a = tr(A A^T) / m are needed

    @abc.abstractmethod
    def of(
        self, problem: Problem, scale: jax.Array | float | None, lam: jax.Array | float, gamma: float, unit: float
    ) -> AtLevel:
        """The weight for a problem.

        Args:
            problem: Its noise.
            scale: a = tr(A A^T) / m; None unless the weight follows the noise.
            lam: Weight of the prior.
            gamma: What the step bears at least, in units of a.
            unit: Scale of the data term over that of the prior term.
        """


@struct.dataclass
class SnrWeight(Weight):
    """``w = lam * weighting(alpha_t, sigma_t)``, the same whatever was measured: the published form."""

    weighting: Weighting = struct.field(pytree_node=False)

    def of(
        self, problem: Problem, scale: jax.Array | float | None, lam: jax.Array | float, gamma: float, unit: float
    ) -> AtLevel:
        """The weight, which does not depend on the problem."""
        return snr_weight(lam, self.weighting)


@struct.dataclass
class NoiseAwareWeight(Weight):
    """``kappa = gamma a + lam sigma_y^2 / r^2``: the posterior's weight, and a little where nothing is noisy."""

    gamma: jax.Array | None = None  # None: what the step bears

    follow_noise = True

    def of(
        self, problem: Problem, scale: jax.Array | float | None, lam: jax.Array | float, gamma: float, unit: float
    ) -> AtLevel:
        """The weight for the problem's sigma_y and a."""
        assert scale is not None
        sigma_y = known_sigma_y("noise_aware", problem, REMEDY)
        least = (gamma if self.gamma is None else self.gamma) * scale

        def at_level(alpha_t: jax.Array, sigma_t: jax.Array) -> tuple[jax.Array, jax.Array]:
            kappa = unit * (least + lam * (sigma_y * alpha_t / sigma_t) ** 2)
            return kappa * sigma_t / alpha_t, kappa

        return at_level


def snr_weight(lam: jax.Array | float, weighting: Weighting) -> AtLevel:
    """``w = lam * weighting(alpha_t, sigma_t)``."""

    def at_level(alpha_t: jax.Array, sigma_t: jax.Array) -> tuple[jax.Array, jax.Array]:
        w = lam * weighting(alpha_t, sigma_t)
        return w, w * alpha_t / sigma_t

    return at_level
