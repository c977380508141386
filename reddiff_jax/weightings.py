"""Weightings of RED-diff's prior term: functions of ``(alpha_t, sigma_t)``, of r = sigma_t / alpha_t in the paper.

Source:
    Mardani et al. 2023 (arXiv 2305.04391), section 4.2 and figure 2 (weights by the inverse signal-to-noise ratio).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

Weighting = Callable[[jax.Array, jax.Array], jax.Array]

WEIGHTING = "a function (alpha_t, sigma_t) -> w, such as rd.weightings.linear"
"""What an error says is needed."""


def linear(alpha_t: jax.Array, sigma_t: jax.Array) -> jax.Array:
    """The ratio r itself, the paper's choice."""
    return sigma_t / alpha_t


def sqrt(alpha_t: jax.Array, sigma_t: jax.Array) -> jax.Array:
    """Square root of r."""
    return jnp.sqrt(sigma_t / alpha_t)


def square(alpha_t: jax.Array, sigma_t: jax.Array) -> jax.Array:
    """Square of r."""
    return (sigma_t / alpha_t) ** 2


def log(alpha_t: jax.Array, sigma_t: jax.Array) -> jax.Array:
    """ln(1 + r)."""
    return jnp.log1p(sigma_t / alpha_t)


def trunc_linear(alpha_t: jax.Array, sigma_t: jax.Array) -> jax.Array:
    """The ratio r, at most 1."""
    return jnp.minimum(sigma_t / alpha_t, 1.0)


def power2over3(alpha_t: jax.Array, sigma_t: jax.Array) -> jax.Array:
    """Power 2/3 of r."""
    return (sigma_t / alpha_t) ** (2 / 3)


def const(alpha_t: jax.Array, sigma_t: jax.Array) -> jax.Array:
    """1."""
    return jnp.ones_like(sigma_t)


WEIGHTINGS: dict[str, Weighting] = {
    "linear": linear,
    "sqrt": sqrt,
    "square": square,
    "log": log,
    "trunc_linear": trunc_linear,
    "power2over3": power2over3,
    "const": const,
}
