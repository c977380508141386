"""Single pixels that are missing."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from reddiff_jax._checks import check_picture_shape, is_concrete
from reddiff_jax.masks._observed import observed


def random(key: PRNGKeyArray, shape: Sequence[int], keep: float | Float[Array, ""] = 0.3) -> Float[Array, "H W 1"]:
    """Exactly ``round(keep H W)`` random pixels are observed, in all channels.

    Args:
        key: PRNG key.
        shape: ``(H, W)`` or ``(H, W, C)`` of the picture.
        keep: Fraction of observed pixels, in [0, 1]; may be traced. Default as in DAPS (70 % missing).

    Raises:
        ValueError: If a concrete ``keep`` is outside [0, 1].
    """
    h, w = check_picture_shape("masks.random", shape)
    if is_concrete(keep) and not 0 <= float(keep) <= 1:
        raise ValueError(f"masks.random: keep is {keep} but must be the fraction of observed pixels, in [0, 1].")
    order = jax.random.permutation(key, h * w).reshape(h, w)
    return observed(order < jnp.round(keep * (h * w)))
