"""Levels: the timesteps at which RED-diff evaluates the prior, step by step."""

import abc
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from reddiff_jax._checks import numbers
from reddiff_jax._repr import Repr
from reddiff_jax._types import Image, Key, Timestep, Timesteps
from reddiff_jax.operators import EachSlice, LinearOperator, Operator, SpectralOperator
from reddiff_jax.problems import Problem, num_entries
from reddiff_jax.schedules import Schedule
from reddiff_jax.solvers._base import LIKELIHOOD, known_sigma_y


class Scene(NamedTuple):
    """A problem as levels and weights see it."""

    problem: Problem
    schedule: Schedule
    scale: Float[Array, ""] | float | None  # a = tr(A A^T) / m; None where nothing follows the noise

    @property
    def sigma_y(self) -> Float[Array, ""]:
        """Standard deviation of the measurement noise; TypeError where it is not Gaussian."""
        return known_sigma_y("noise_aware", self.problem, f"Use {LIKELIHOOD}.")


def mean_squared_row_norm(key: Key, operator: Operator, x: Image) -> Float[Array, ""]:
    """Mean squared norm of the nonzero rows of A, or of its derivative at x; without an SVD one probe estimates it."""
    if isinstance(operator, EachSlice):
        keys = jax.random.split(key, operator.in_shape[0])
        return jnp.mean(operator.map(lambda own, key, each: mean_squared_row_norm(key, own, each), keys, x))
    if isinstance(operator, SpectralOperator):
        squares, count = operator.singulars**2, jnp.sum(operator.singulars > 0)
    else:
        # A probe of random signs would cancel in rows of few equal entries, which would then count as zero.
        probe = jax.random.normal(key, x.shape, x.dtype)
        image = (
            operator(probe) if isinstance(operator, LinearOperator) else jax.jvp(operator.__call__, (x,), (probe,))[1]
        )
        squares, count = jnp.abs(image) ** 2, jnp.sum(image != 0) * (num_entries(image) // image.size)
    return jnp.sum(squares) / jnp.maximum(count, 1)


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


# ---- orders of a grid: (key, step, timesteps (num_steps, K)) -> the (K,) timesteps of this step


def descending(key: Key, step: Int[Array, ""], timesteps: Timesteps) -> Timesteps:
    """Order: from the noisiest level to the cleanest, the paper's choice (section 5.3)."""
    return timesteps[step]


def ascending(key: Key, step: Int[Array, ""], timesteps: Timesteps) -> Timesteps:
    """Order: from the cleanest level to the noisiest."""
    return timesteps[timesteps.shape[0] - 1 - step]


def random(key: Key, step: Int[Array, ""], timesteps: Timesteps) -> Timesteps:
    """Order: independent uniform draws from the grid, as in the derivation."""
    return jax.random.choice(key, timesteps.reshape(-1), timesteps.shape[1:])


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


def falling(first: jax.Array, last: jax.Array | float, fallen: jax.Array | float) -> jax.Array:
    """``first (last / first)^fallen``: the level that is first at 0 and last at 1, and falls by a constant factor."""
    return first * (last / first) ** fallen


def check_falling(sigma_max: jax.Array | float, sigma_min: jax.Array | float) -> None:
    """Raises ValueError if levels would rise from sigma_max to sigma_min."""
    first, last = numbers(sigma_max), numbers(sigma_min)
    if first is not None and last is not None and first.ndim == last.ndim == 0 and first < last:
        raise ValueError(f"sigma_max is {first:.4g} but must be at least sigma_min, which is {last:.4g}.")


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
        return jnp.asarray(self.to_timestep(scene.schedule, falling(self.sigma_max, last, fallen)))[None]
