"""High dynamic range: the picture was over-exposed."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax._checks import check_image_shape, check_numbers
from reddiff_jax.operators._base import SaturatingOperator


@struct.dataclass
class Hdr(SaturatingOperator):
    """The saturating gain ``y = clip(factor * x, -1, 1)``; build it with ``hdr``."""

    factor: jax.Array  # scalar, the gain

    keeps_range = True

    def unsaturated(self, x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """``factor * x``."""
        return self.factor * x

    def middle(self, y: Float[Array, "H W C"], margin: Float[Array, ""] | float) -> Float[Array, "H W C"]:
        """``y / factor``, and half-way between ``1 / factor`` and 1 where it was cut off."""
        half_way = jnp.sign(y) * (1 + 1 / self.factor) / 2
        return jnp.where(jnp.abs(y) >= 1 - margin, half_way, y / self.factor)

    def pinv(self, y: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """``y / factor``; exact: ``A(pinv(y)) = y`` for y in [-1, 1]."""
        return y / self.factor


def hdr(in_shape: tuple[int, int, int], factor: float | Float[Array, ""] = 2.0) -> Hdr:
    """Over-exposure, ``y = clip(factor * x, -1, 1)``: what is brighter or darker than ``1 / factor`` is lost.

    A gain for each image of a batch: ``jax.vmap(lambda f: rd.hdr(in_shape, f))(factors)``.

    Args:
        in_shape: ``(H, W, C)`` of one image.
        factor: Gain, at least 1; may be traced. Default as published.

    Raises:
        ValueError: If a concrete ``factor`` is below 1 or not finite.

    Source:
        The HDR task of Mardani et al. 2023 (arXiv 2305.04391), also of DAPS (Zhang et al. 2024, arXiv 2407.01521).
    """
    in_shape = check_image_shape("hdr: in_shape", in_shape)
    needed = "at least 1 and finite: below 1 no pixel of [-1, 1] saturates"
    check_numbers("hdr: factor", factor, lambda x: np.isfinite(x) & (x >= 1), needed)
    return Hdr(in_shape=in_shape, factor=jnp.asarray(factor, dtype=float))
