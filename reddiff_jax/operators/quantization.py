"""Quantisation: few grey levels are left."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int

from reddiff_jax._checks import check_image_shape, check_numbers
from reddiff_jax.operators._base import ProximalOperator
from reddiff_jax.operators._straight_through import nearest_in_bins, round_to_whole

_MAX_BITS = 16  # float32 has 24


@struct.dataclass
class Quantization(ProximalOperator):
    """Rounding to ``2 ** bits`` equidistant levels; build it with ``quantization``."""

    bits: jax.Array  # scalar, int32
    straight_through: bool = struct.field(pytree_node=False)

    keeps_range = True

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Measures one image."""
        steps = 2.0**self.bits - 1
        level = round_to_whole((x + 1) / 2 * steps, straight_through=self.straight_through)
        # The derivative of clipping would leave pixels beyond the range without a data term.
        excess = jax.lax.stop_gradient(level - jnp.clip(level, 0, steps))
        return (level - excess) / steps * 2 - 1

    def pinv(self, y: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """The measurement itself, which is its own quantisation."""
        return y

    def proximal(
        self, x: Float[Array, "H W C"], y: Float[Array, "H W C"], rho: Float[Array, ""] | float
    ) -> Float[Array, "H W C"]:
        """The image that is nearest to x and y at once; of y without noise each entry is clipped to its bin."""
        steps = 2.0**self.bits - 1
        levels = nearest_in_bins((x + 1) / 2 * steps, (y + 1) / 2 * steps, rho, 0.0, steps)
        return levels / steps * 2 - 1


def quantization(
    in_shape: tuple[int, int, int], bits: int | Int[Array, ""], *, straight_through: bool = True
) -> Quantization:
    """Rounds each value to the nearest of ``2 ** bits`` levels, equidistant from -1 to 1, both included.

    Values beyond [-1, 1] become -1 or 1. The operator is idempotent, ``A(A(x)) = A(x)``. A depth for each image of a
    batch: ``jax.vmap(lambda b: rd.quantization(in_shape, b))(depths)``.

    Args:
        in_shape: ``(H, W, C)`` of one image.
        bits: Depth, 1 to 16; may be traced.
        straight_through: Takes the derivative for 1 everywhere (Bengio et al. 2013). The true one is zero, so that
            a solver that follows gradients has no data term, as in the published RED-diff code.

    Raises:
        ValueError: If a concrete ``bits`` is not a whole number from 1 to 16.

    Source:
        The quantisation of Kawar et al. 2022 (arXiv 2209.11888); Bengio et al. 2013 (arXiv 1308.3432) for the
        straight-through derivative.
    """
    in_shape = check_image_shape("quantization: in_shape", in_shape)
    needed = f"a whole number from 1 to {_MAX_BITS}"
    check_numbers("quantization: bits", bits, lambda x: np.isin(x, range(1, _MAX_BITS + 1)), needed)
    return Quantization(in_shape=in_shape, bits=jnp.asarray(bits, jnp.int32), straight_through=straight_through)
