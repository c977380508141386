"""Weightings of RED-diff's prior term: functions of ``(alpha_t, sigma_t)``, of r = sigma_t / alpha_t in the paper.

Source:
    Mardani et al. 2023 (arXiv 2305.04391), section 4.2 and figure 2 (weights by the inverse signal-to-noise ratio).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

Weighting = Callable[[jax.Array, jax.Array], jax.Array]


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


def noise_aware(sigma_y: jax.Array | float, scale: jax.Array | float, *, gamma: float = 0.03) -> Weighting:
    """Weighting gamma a r + sigma_y^2 / r, beside a data term without a factor: that of the posterior, and no tuning.

    As r falls all seven of the paper fall below sigma_y^2 / r, so that the end of a run fits the noise.

    Args:
        sigma_y: Standard deviation of the measurement noise.
        scale: a = tr(A A^T) / m, the mean squared norm of the operator's rows; 1 for masks, denoising and blurs.
        gamma: What stays where there is no noise.

    Source:
        Derived in ``solvers/noise_aware.py``.
    """

    def weighting(alpha_t: jax.Array, sigma_t: jax.Array) -> jax.Array:
        r = sigma_t / alpha_t
        return gamma * scale * r + sigma_y**2 / r

    return weighting


def default_gamma(*, proximal: bool, sample: bool) -> float:
    """Gamma of ``noise_aware`` by the kind of step: exact ones bear less than an optimizer's, samples the least."""
    if sample:
        return 1e-6
    return 1e-3 if proximal else 0.03


def by_name(name: str) -> Weighting:
    """Looks up one of the paper's seven weightings.

    Raises:
        ValueError: For an unknown name.
    """
    if name == "noise_aware":
        raise ValueError(
            "weighting 'noise_aware' needs a measurement and its sigma_y; only rd.reddiff takes it by name."
        )
    if name not in WEIGHTINGS:
        raise ValueError(f"unknown weighting {name!r}; choose one of {', '.join(WEIGHTINGS)} or pass a function.")
    return WEIGHTINGS[name]
