"""Rounding whose derivative can be taken for one."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def round_to_whole(x: Float[Array, "*shape"], *, straight_through: bool) -> Float[Array, "*shape"]:
    """Rounds to whole numbers; the derivative is 1 if ``straight_through``, else 0 as it is almost everywhere."""
    whole = jax.lax.stop_gradient(jnp.round(x))
    # x - x is exactly 0: x + (round(x) - x) would not be a whole number in floating point.
    return whole + (x - jax.lax.stop_gradient(x)) if straight_through else whole
