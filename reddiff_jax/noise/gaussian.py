"""Gaussian noise."""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax._checks import check_non_negative
from reddiff_jax._types import Key
from reddiff_jax.noise._base import Noise, leaf


@struct.dataclass
class Gaussian(Noise):
    """White Gaussian noise; build it with ``gaussian``."""

    sigma_y: jax.Array  # scalar, in the units of y

    def sample(self, key: Key, y: Array) -> Array:
        """Adds white noise; for complex y each part has this standard deviation."""
        if jnp.iscomplexobj(y):
            parts = jax.random.normal(key, (2, *y.shape), y.real.dtype)
            return y + self.sigma_y * jax.lax.complex(parts[0], parts[1])
        return y + self.sigma_y * jax.random.normal(key, y.shape, y.dtype)

    def nll(self, y: Array, y_hat: Array) -> Float[Array, ""]:
        """Half the squared distance over sigma_y^2; infinite for sigma_y = 0 unless they are equal."""
        distance = jnp.abs(y - y_hat)
        # Else 0 / 0 makes a noiseless measurement that fits exactly NaN.
        safe = jnp.where((distance == 0) & (self.sigma_y == 0), 1.0, self.sigma_y)
        return 0.5 * jnp.sum((distance / safe) ** 2)

    def variance(self, y: Array) -> Float[Array, ""]:
        """sigma_y^2; for complex y the variance of each part."""
        return self.sigma_y**2

    def misfit(self, y: Array, y_hat: Array) -> Float[Array, ""]:
        """Half the squared distance, for sigma_y = 0 too."""
        return 0.5 * jnp.sum(jnp.abs(y - y_hat) ** 2)


_OF_TEXT = "For 25 of 255 gray levels give rd.gaussian(2 * 25 / 255): pictures are in [-1, 1], a range of 2."


def gaussian(sigma_y: jax.Array | float = 0.0) -> Gaussian:
    """White Gaussian noise.

    Args:
        sigma_y: Standard deviation in the units of y, i.e. for images in [-1, 1]; papers that quote it for [0, 1] mean
            half of it: ``rd.gaussian(rd.sigma_from_unit_range(0.025))``.

    Raises:
        ValueError: If it is negative or not finite.
    """
    check_non_negative("sigma_y", sigma_y, _OF_TEXT if isinstance(sigma_y, str) else "")
    return Gaussian(leaf(sigma_y))


def sigma_from_unit_range(sigma: jax.Array | float) -> jax.Array | float:
    """A standard deviation quoted for images in [0, 1] as one for images in [-1, 1]: twice it.

    RED-diff, DDRM and DDNM quote theirs for [0, 1]; DPS and DAPS for [-1, 1].
    """
    return 2 * sigma
