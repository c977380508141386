"""Keys of all that RED-diff draws, and the source of its noise."""

import abc
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from reddiff_jax._checks import check_numbers
from reddiff_jax._repr import Repr
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


@struct.dataclass
class NoiseSource(Repr, abc.ABC):
    """Where the noise of the prior term comes from."""

    carries: ClassVar[bool] = False  # whether the state keeps what the network predicted last

    @abc.abstractmethod
    def __call__(self, key: Key, shape: tuple[int, ...], dtype: Any, last: jax.Array | None) -> jax.Array:
        """Standard normal noise (K, H, W, C); ``last`` is the (H, W, C) noise that is kept, if it carries."""


@struct.dataclass
class SameAlong(NoiseSource):
    """The same noise in all slices of a volume (D, H, W, C), anew in each step.

    What the prior does to noise is then the same in neighbouring slices, so that less of it flickers from one to the
    next. ``solver.replace(noise=rd.solvers.SameAlong(0))``.

    Args (fields):
        axis: Of the slices, 0, 1 or 2.
    """

    axis: int = struct.field(pytree_node=False, default=0)

    def __call__(self, key: Key, shape: tuple[int, ...], dtype: Any, last: jax.Array | None) -> jax.Array:
        """Noise of shape (K, D, H, W, C)."""
        one = list(shape)
        one[1 + self.axis] = 1  # behind the timesteps
        return jnp.broadcast_to(jax.random.normal(key, tuple(one), dtype), shape)


@struct.dataclass
class Fresh(NoiseSource):
    """Independent noise in each step."""

    def __call__(self, key: Key, shape: tuple[int, ...], dtype: Any, last: jax.Array | None) -> jax.Array:
        """Draws."""
        return jax.random.normal(key, shape, dtype)


@struct.dataclass
class Carried(NoiseSource):
    """``sqrt(1 - b) last + sqrt(b) z``; build it with ``carried_noise``."""

    share: jax.Array  # scalar b, of the variance

    carries = True

    def __call__(self, key: Key, shape: tuple[int, ...], dtype: Any, last: jax.Array | None) -> jax.Array:
        """Mixes the last prediction with fresh noise."""
        assert last is not None
        kept = jnp.sqrt(1 - self.share).astype(dtype) * last[None]  # (1, H, W, C)
        return kept + jnp.sqrt(self.share).astype(dtype) * jax.random.normal(key, shape, dtype)


def carried_noise(share: jax.Array | float) -> Carried:
    """Noise source that keeps a part of what the network predicted in the step before.

    ``z_k = sqrt(1 - b) eps_hat_{k-1} + sqrt(b) fresh``. With b = 1 all noise is fresh, with b = 0 and nothing measured
    a run is DDIM. Where nothing is measured, a Gaussian prior of variance C and a fixed level r end with the variance
    ``J^2 r^2 b / (1 - q^2)``, ``J = C / (C + r^2)``, ``q = J + sqrt(1 - b) (1 - J)``: C / 2 for b = 1
    and C for b -> 0, at low levels. So the image keeps more texture. With exact data steps b below 0.5 makes blurs
    diverge.

    Args:
        share: b, the fresh share of the variance, from 0 to 1.

    Raises:
        ValueError: If it is not from 0 to 1.

    Source:
        The noise of FLAIR (arXiv 2506.02680); DiffPIR's zeta (arXiv 2305.08995) is a relative.
    """
    check_numbers("carried_noise: share", share, lambda b: (b >= 0) & (b <= 1), "from 0 to 1")
    return Carried(jnp.asarray(share, dtype=float))
