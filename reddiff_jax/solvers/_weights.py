"""Weights of RED-diff's prior term at a level: by the signal-to-noise ratio, or by the measurement noise.

A weight at a level is two numbers: w of ``eps_hat - c eps``, and kappa = w / r of the pull ``r (eps_hat - c eps)`` in
pixel units, r = sigma_t / alpha_t, which compares with A^T A.
"""

import abc
from collections.abc import Callable
from typing import ClassVar

import jax
from flax import struct

from reddiff_jax._repr import Repr
from reddiff_jax.solvers._levels import Scene
from reddiff_jax.weightings import Weighting

AtLevel = Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
"""``(alpha_t, sigma_t) -> (w, kappa)``."""


@struct.dataclass
class Weight(Repr, abc.ABC):
    """How much the prior counts at a level."""

    follow_noise: ClassVar[bool] = False  # whether it needs a scene's scale

    @abc.abstractmethod
    def of(self, scene: Scene, lam: jax.Array | float, gamma: float, unit: float) -> AtLevel:
        """The weight for a problem.

        Args:
            scene: The problem, with the size of its operator.
            lam: Weight of the prior.
            gamma: Least weight that suits the step, in units of a.
            unit: Scale of the data term over that of the prior term.
        """


@struct.dataclass
class SnrWeight(Weight):
    """``w = lam * weighting(alpha_t, sigma_t)``, the same whatever was measured: the published form."""

    weighting: Weighting = struct.field(pytree_node=False)

    def of(self, scene: Scene, lam: jax.Array | float, gamma: float, unit: float) -> AtLevel:
        return snr_weight(lam, self.weighting)


@struct.dataclass
class NoiseAwareWeight(Weight):
    """``kappa = gamma a + lam sigma_y^2 / r^2``: the posterior's weight, and a small constant for y without noise."""

    gamma: jax.Array | None = None  # None: the step's own

    follow_noise = True

    def of(self, scene: Scene, lam: jax.Array | float, gamma: float, unit: float) -> AtLevel:
        assert scene.scale is not None
        sigma_y, least = scene.sigma_y, (gamma if self.gamma is None else self.gamma) * scene.scale

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
