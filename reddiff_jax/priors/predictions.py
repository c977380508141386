"""What a network predicts: functions from its output to the noise prediction."""

from collections.abc import Callable

import jax

ToEps = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]
"""``(output of a network, x_t, alpha_t, sigma_t) -> eps_hat``."""


def from_eps(output: jax.Array, x_t: jax.Array, alpha_t: jax.Array, sigma_t: jax.Array) -> jax.Array:
    """The network predicts the noise (Ho et al. 2020, arXiv 2006.11239)."""
    return output


def from_x0(output: jax.Array, x_t: jax.Array, alpha_t: jax.Array, sigma_t: jax.Array) -> jax.Array:
    """The network predicts the clean image."""
    return (x_t - alpha_t * output) / sigma_t


def from_v(output: jax.Array, x_t: jax.Array, alpha_t: jax.Array, sigma_t: jax.Array) -> jax.Array:
    """The network predicts v = alpha_t eps - sigma_t x_0 (Salimans & Ho 2022, arXiv 2202.00512).

    For schedules with alpha_t^2 + sigma_t^2 = 1.
    """
    return alpha_t * output + sigma_t * x_t


def from_score(output: jax.Array, x_t: jax.Array, alpha_t: jax.Array, sigma_t: jax.Array) -> jax.Array:
    """The network predicts the score of ``x_t`` (Song et al. 2021, arXiv 2011.13456)."""
    return -sigma_t * output


def from_velocity(output: jax.Array, x_t: jax.Array, alpha_t: jax.Array, sigma_t: jax.Array) -> jax.Array:
    """The network predicts the velocity v = eps - x_0 of a straight line from a picture to noise (rectified flow).

    ``eps_hat = (x_t + alpha_t v) / (alpha_t + sigma_t)``, which is ``x_t + alpha_t v`` on ``schedules.rectified_flow``.
    A network whose line goes the other way predicts ``x_0 - eps``: return minus its output, or use ``flow_prior``.

    Source:
        Liu et al. 2023 (arXiv 2209.03003), eq. 1.
    """
    return (x_t + alpha_t * output) / (alpha_t + sigma_t)
