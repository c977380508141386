"""Keys of all that RED-diff draws, and the source of its noise."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from reddiff_jax._types import Key


class Keys(NamedTuple):
    """One key for each thing that is drawn."""

    initial: Key  # the initial image
    probe: Key  # the estimate of the size of A's rows
    x_0: Key  # the perturbation of mu
    eps: Key  # the noise of the prior term
    t: Key  # the timesteps


def keys_of_all(key: Key) -> Keys:
    """Splits a step's key for the perturbation, the noise and the timesteps, as the published form does."""
    key_x0, key_eps, key_t = jax.random.split(key, 3)
    return Keys(key, jax.random.fold_in(key, 1), key_x0, key_eps, key_t)


def keys_of_noise(key: Key) -> Keys:
    """Splits a step's key; the noise of the prior term takes the key itself."""
    initial, probe, x_0, t = jax.random.split(key, 4)
    return Keys(initial, probe, x_0, key, t)


NoiseSource = Callable[[Key, tuple[int, ...], object], jax.Array]
"""``(key, shape (K, H, W, C), dtype) -> standard normal noise``."""


@dataclass(frozen=True)
class SameAlong:
    """Noise source: the same noise in all slices of a volume (D, H, W, C), anew in each step.

    What the prior does to noise is then the same in neighbouring slices, so that less of it flickers from one to the
    next. ``solver.replace(noise=rd.solvers.SameAlong(0))``.

    Args (fields):
        axis: Of the slices, 0, 1 or 2.
    """

    axis: int = 0

    def __call__(self, key: Key, shape: tuple[int, ...], dtype: object) -> jax.Array:
        """Noise of shape (K, D, H, W, C)."""
        one = list(shape)
        one[1 + self.axis] = 1  # behind the timesteps
        return jnp.broadcast_to(jax.random.normal(key, tuple(one), dtype), shape)  # type: ignore[arg-type]


def fresh(key: Key, shape: tuple[int, ...], dtype: object) -> jax.Array:
    """Noise source: independent noise in each step."""
    return jax.random.normal(key, shape, dtype)  # type: ignore[arg-type]
