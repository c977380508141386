"""Control variates: how much of the drawn noise z is subtracted from eps_hat. All are unbiased, as E z = 0."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from reddiff_jax._types import Image

ControlVariate = Callable[[Image, Image], jax.Array]
"""``(eps_hat, z) -> c``, a scalar."""

CONTROL_VARIATE = "a function (eps_hat, eps) -> c, such as rd.solvers.variate_projected"
"""What an error says is needed."""


def variate_projected(eps_hat: Image, z: Image) -> Float[Array, ""]:
    """Control variate <eps_hat, z> / <z, z>, over all pixels of the image; its bias is O(1 / n).

    Each slice of a volume (D, H, W, C) has its own.
    """
    axes, volume = (-3, -2, -1), z.ndim == 4
    return jnp.sum(eps_hat * z, axis=axes, keepdims=volume) / jnp.sum(z**2, axis=axes, keepdims=volume)


def variate_published(eps_hat: Image, z: Image) -> Float[Array, ""]:
    """Control variate 1: RED-diff's eps_hat - z."""
    return jnp.ones((), z.dtype)


def variate_none(eps_hat: Image, z: Image) -> Float[Array, ""]:
    """Control variate 0: eps_hat as it is."""
    return jnp.zeros((), z.dtype)


def variate_twice(eps_hat: Image, z: Image) -> Float[Array, ""]:
    """Control variate 2, for posterior samples: their half step ends at mu + r z - (r / 2) eps_hat."""
    return jnp.full((), 2.0, z.dtype)
