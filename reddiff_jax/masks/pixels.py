"""Single pixels that are missing."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from reddiff_jax._checks import check_numbers, check_picture_shape
from reddiff_jax._keys import as_key
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
    key, (h, w) = as_key("masks.random: key", key), check_picture_shape("masks.random", shape)
    needed = "the fraction of observed pixels, in [0, 1]"
    check_numbers("masks.random: keep", keep, lambda x: (x >= 0) & (x <= 1), needed)
    order = jax.random.permutation(key, h * w).reshape(h, w)
    return observed(order < jnp.round(keep * (h * w)))
