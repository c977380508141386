"""Rounding: with a derivative that can be taken for one, and the proximal step of its bins."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def round_to_whole(x: Float[Array, "*shape"], *, straight_through: bool) -> Float[Array, "*shape"]:
    """Rounds to whole numbers; the derivative is 1 if ``straight_through``, else 0 as it is almost everywhere."""
    whole = jax.lax.stop_gradient(jnp.round(x))
    # x - x is exactly 0: x + (round(x) - x) would not be a whole number in floating point.
    return whole + (x - jax.lax.stop_gradient(x)) if straight_through else whole


def nearest_in_bins(
    x: Float[Array, "*shape"],
    y: Float[Array, "*shape"],
    rho: Float[Array, ""] | float,
    least: Float[Array, ""] | float = -jnp.inf,
    most: Float[Array, ""] | float = jnp.inf,
) -> Float[Array, "*shape"]:
    """``argmin_v (round(v) - y)^2 + rho (v - x)^2``, entry by entry.

    The bins at the two ends, ``least`` and ``most``, have no outer edge: what is rounded there was clipped.
    """
    # In the level, taken for any number, the minimum is convex: one of the two whole levels beside it is the best, or
    # x's own, as an end bin reaches further than others.
    away = x - jnp.clip(x, y - 0.5, y + 0.5)
    level = jnp.clip(y + rho / (1 + rho) * away, least, most)

    def candidate(level: Array) -> tuple[Array, Array]:
        low, high = jnp.where(level <= least, -jnp.inf, level - 0.5), jnp.where(level >= most, jnp.inf, level + 0.5)
        v = jnp.clip(x, low, high)
        return v, (level - y) ** 2 + rho * (v - x) ** 2

    best, least_cost = candidate(jnp.floor(level))
    for other in (jnp.ceil(level), jnp.clip(jnp.round(x), least, most)):
        v, cost = candidate(other)
        best, least_cost = jnp.where(cost < least_cost, v, best), jnp.minimum(cost, least_cost)
    return best
