"""Impulse noise: salt and pepper."""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax._checks import check_numbers, check_positive
from reddiff_jax._types import Key
from reddiff_jax.noise._base import Noise, check_range, check_real, leaf


@struct.dataclass
class Impulse(Noise):
    """Some entries are replaced by the ends of the range; build it with ``impulse``."""

    probability: jax.Array  # scalar, in [0, 1]
    sigma_y: jax.Array  # scalar, in the units of y
    low: jax.Array  # scalar
    high: jax.Array  # scalar

    def sample(self, key: Key, y: Array) -> Array:
        """Replaces entries, and adds white noise to all."""
        check_real(self, y)
        key_hit, key_noise = jax.random.split(key)
        hit = jax.random.uniform(key_hit, y.shape, y.dtype)
        y = jnp.where(hit < self.probability, jnp.where(hit < self.probability / 2, self.low, self.high), y)
        return y + self.sigma_y * jax.random.normal(key_noise, y.shape, y.dtype)

    def nll(self, y: Array, y_hat: Array) -> Float[Array, ""]:
        """``-sum log((1 - p) q(y - y_hat) + p/2 q(y - low) + p/2 q(y - high))``, q Gaussian of sigma_y."""
        check_real(self, y, y_hat)
        p, centers = self.probability, (y_hat, self.low, self.high)
        densities = [-0.5 * ((y - center) / self.sigma_y) ** 2 for center in centers]
        weights = [jnp.log1p(-p), jnp.log(p / 2), jnp.log(p / 2)]
        parts = jnp.stack([weight + density for weight, density in zip(weights, densities, strict=True)])
        return -jnp.sum(jax.nn.logsumexp(parts, axis=0))

    def variance(self, y: Array) -> Float[Array, ""]:
        """sigma_y^2, the variance of the entries that were not replaced; the others say nothing about the image."""
        return self.sigma_y**2


def impulse(
    probability: jax.Array | float,
    *,
    sigma_y: jax.Array | float = 0.02,
    low: jax.Array | float = -1.0,
    high: jax.Array | float = 1.0,
) -> Impulse:
    """Salt and pepper: each entry becomes ``low`` or ``high`` with probability p/2 each, and all get white noise.

    The likelihood is the mixture's density: entries near an end of the range that do not fit are explained as impulses,
    and stop pulling.

    Args:
        probability: p in [0, 1], the probability that an entry is replaced.
        sigma_y: Standard deviation of the white noise, above 0: without it there is no density. The likelihood treats
            misfits beyond a few of these as impulses.
        low: The pepper; default for images in [-1, 1].
        high: The salt.

    Raises:
        ValueError: If a parameter is out of its range.
        TypeError: When applied to complex measurements.
    """
    check_numbers("impulse: probability", probability, lambda x: (x >= 0) & (x <= 1), "in [0, 1]")
    check_positive("impulse: sigma_y", sigma_y, "Without noise of its own an entry has no density.")
    check_range("impulse", low, high)
    return Impulse(leaf(probability), leaf(sigma_y), leaf(low), leaf(high))
