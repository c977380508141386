"""Speckle: noise that multiplies."""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax._checks import check_positive
from reddiff_jax._types import Key
from reddiff_jax.noise._base import Noise, check_range, check_real, continue_below, leaf


@struct.dataclass
class Speckle(Noise):
    """Intensities times Gamma variables of mean 1; build it with ``speckle``."""

    looks: jax.Array  # scalar
    low: jax.Array  # scalar or y's shape
    high: jax.Array  # scalar or y's shape
    floor: float = struct.field(pytree_node=False)

    def sample(self, key: Key, y: Array) -> Array:
        """Multiplies the intensities; values below the range count as zero."""
        check_real(self, y)
        factor = jax.random.gamma(key, self.looks.astype(y.dtype), y.shape, y.dtype) / self.looks
        return self.low + (self.high - self.low) * self._intensity(y) * factor

    def nll(self, y: Array, y_hat: Array) -> Float[Array, ""]:
        """``looks sum log u_hat + u / u_hat``, continued by a parabola below ``max(floor, u / 10)``."""
        check_real(self, y, y_hat)
        u, u_hat = self._intensity(y), (y_hat - self.low) / (self.high - self.low)
        least = jnp.maximum(0.1 * u, self.floor)
        safe = jnp.maximum(u_hat, least)
        slope = (least - u) / least**2
        curvature = (1 / least + jnp.abs(slope)) / least
        return self.looks * jnp.sum(jnp.log(safe) + u / safe + continue_below(u_hat, least, slope, curvature))

    def variance(self, y: Array) -> Float[Array, ""]:
        """Mean variance, from the mean squared intensity of y."""
        u = jnp.maximum(self._intensity(y), self.floor) * (self.high - self.low)
        return jnp.mean(u**2) / (self.looks + 1)

    def _intensity(self, y: Array) -> Array:
        return jnp.maximum((y - self.low) / (self.high - self.low), 0.0)


def speckle(
    looks: jax.Array | float,
    *,
    low: jax.Array | float = -1.0,
    high: jax.Array | float = 1.0,
    floor: float = 1e-2,
) -> Speckle:
    """Multiplicative noise: ``u = u_hat g``, ``g ~ Gamma(looks, 1 / looks)``, of u = (y - low) / (high - low).

    The factor g has mean 1 and standard deviation ``1 / sqrt(looks)``: 1 look is fully developed speckle, and
    ``looks = 1 / sigma^2`` gives the relative noise sigma that image toolboxes ask for.

    Args:
        looks: Number of averaged looks, above 0, not necessarily whole.
        low: Value of y of intensity zero; default for images in [-1, 1].
        high: Value of y of intensity one.
        floor: Least intensity that the likelihood tells from zero, above 0: without it, the likelihood of a y_hat of
            zero is infinite or zero.

    Raises:
        ValueError: If a parameter is out of its range.
        TypeError: When applied to complex measurements.

    Source:
        Goodman 1976, "Some fundamental properties of speckle".
    """
    check_positive("speckle: looks", looks, "For a relative noise sigma it is 1 / sigma^2.")
    check_range("speckle", low, high)
    check_positive("speckle: floor", floor)
    return Speckle(leaf(looks), leaf(low), leaf(high), float(floor))
