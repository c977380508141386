"""Denoising: the identity."""

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax._checks import check_image_shape
from reddiff_jax.operators._base import SpectralOperator


@struct.dataclass
class Denoising(SpectralOperator):
    """The identity ``y = x``; build it with ``denoising``."""

    keeps_range = True
    is_denoising = True

    @property
    def singulars(self) -> Float[Array, "1 1 1"]:
        """One."""
        return jnp.ones((1, 1, 1))

    def Vt(self, x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Coefficients are pixels."""
        return x

    def V(self, coefficients: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Pixels are coefficients."""
        return coefficients

    def Ut(self, y: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Coefficients are pixels."""
        return y

    def U(self, coefficients: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Pixels are coefficients."""
        return coefficients

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Measures one image."""
        return x

    def pinv(self, y: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """The measurement is the image."""
        return y


def denoising(in_shape: tuple[int, int, int]) -> Denoising:
    """The identity, ``y = x``: the noise alone is to be removed.

    Args:
        in_shape: ``(H, W, C)`` of one image.

    Raises:
        ValueError: If ``in_shape`` is not the shape of one image.
    """
    return Denoising(in_shape=check_image_shape("denoising: in_shape", in_shape))
