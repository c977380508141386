"""Measurement noise."""

import abc

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax._checks import check_non_negative
from reddiff_jax._types import Key


@struct.dataclass
class Noise(abc.ABC):
    """How a measurement departs from ``operator(x)``."""

    @abc.abstractmethod
    def sample(self, key: Key, y: Array) -> Array:
        """Draws a noisy measurement around the clean ``y``."""

    @abc.abstractmethod
    def nll(self, y: Array, y_hat: Array) -> Float[Array, ""]:
        """Negative log-likelihood of ``y`` given the clean ``y_hat``: a sum over entries, constants left out."""


@struct.dataclass
class Gaussian(Noise):
    """White Gaussian noise."""

    sigma_y: jax.Array  # scalar, in the units of y

    def sample(self, key: Key, y: Array) -> Array:
        """Adds white noise; for complex y of this standard deviation in each part."""
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


def gaussian(sigma_y: jax.Array | float = 0.0) -> Gaussian:
    """White Gaussian noise.

    Args:
        sigma_y: Standard deviation in the units of y, i.e. for images in [-1, 1]; papers that quote it for [0, 1] mean
            half of it.

    Raises:
        ValueError: If it is negative or not finite.
    """
    check_non_negative("sigma_y", sigma_y)
    return Gaussian(jnp.asarray(sigma_y, dtype=float))
