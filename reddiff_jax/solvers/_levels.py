"""Levels: the timesteps at which RED-diff evaluates the prior, step by step."""

import abc
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from reddiff_jax._repr import Repr
from reddiff_jax._types import Key, Timestep, Timesteps
from reddiff_jax.problems import Problem
from reddiff_jax.schedules import Schedule
from reddiff_jax.solvers._base import known_sigma_y


class Scene(NamedTuple):
    """A problem as levels and weights see it."""

    problem: Problem
    schedule: Schedule
    scale: Float[Array, ""] | float | None  # a = tr(A A^T) / m; None where nothing follows the noise

    @property
    def sigma_y(self) -> Float[Array, ""]:
        """Standard deviation of the measurement noise; TypeError where it is not Gaussian."""
        return known_sigma_y("noise_aware", self.problem, REMEDY)


REMEDY = "Use rd.reddiff with rd.optax_step(data_term=rd.likelihood)."


@struct.dataclass
class Levels(Repr, abc.ABC):
    """The timesteps of a run."""

    follow_noise: ClassVar[bool] = False  # whether they need a scene's scale

    @property
    @abc.abstractmethod
    def num_steps(self) -> int:
        """Number of steps of a whole run."""

    @abc.abstractmethod
    def first(self, schedule: Schedule) -> Timestep:
        """The noisiest timestep, to which some initial images are noised."""

    @abc.abstractmethod
    def __call__(self, key: Key, step: Int[Array, ""], scene: Scene) -> Timesteps:
        """The (K,) timesteps of a step."""


@struct.dataclass
class GridLevels(Levels):
    """A grid of timesteps, the same for all problems, in some order."""

    timesteps: jax.Array  # (num_steps, K)
    order: Callable[..., jax.Array] = struct.field(pytree_node=False)

    @property
    def num_steps(self) -> int:
        return self.timesteps.shape[-2]

    def first(self, schedule: Schedule) -> Timestep:
        return self.timesteps[0, 0]

    def __call__(self, key: Key, step: Int[Array, ""], scene: Scene) -> Timesteps:
        return self.order(key, step, self.timesteps)


@struct.dataclass
class FallingLevels(Levels):
    """Levels r = sigma_t / alpha_t that fall by a constant factor, down to a quarter of the problem's noise.

    ``r_k = sigma_max (r_last / sigma_max)^(k / (n - 1))``, ``r_last = sigma_y / (4 sqrt(max(a, 1)))`` within
    [sigma_min, sigma_max]: at lower levels nothing is left to decide.
    """

    sigma_max: jax.Array
    sigma_min: jax.Array
    to_timestep: Callable[[Schedule, jax.Array], jax.Array] = struct.field(pytree_node=False)
    total_steps: int = struct.field(pytree_node=False)

    follow_noise = True

    @property
    def num_steps(self) -> int:
        return self.total_steps

    def first(self, schedule: Schedule) -> Timestep:
        return self.to_timestep(schedule, self.sigma_max)

    def __call__(self, key: Key | None, step: Int[Array, ""] | int, scene: Scene) -> Timesteps:
        assert scene.scale is not None
        # Where the operator adds up many pixels, sigma_y is large but the noise of one pixel is not.
        sigma_x = scene.sigma_y / jnp.sqrt(jnp.maximum(scene.scale, 1.0))
        last = jnp.clip(sigma_x / 4, self.sigma_min, self.sigma_max)
        fallen = step / max(self.total_steps - 1, 1)
        return jnp.asarray(self.to_timestep(scene.schedule, self.sigma_max * (last / self.sigma_max) ** fallen))[None]
