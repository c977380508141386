"""The DDIM transition between noise levels, shared by the methods that walk them."""

import jax
import jax.numpy as jnp

from reddiff_jax._types import Image

Scales = tuple[jax.Array, jax.Array]
"""A scale at level t, and at the cleaner level s."""


def ddim_scales(alphas: Scales, sigmas: Scales, eta: jax.Array | float) -> tuple[jax.Array, jax.Array]:
    """``c1 = eta sigma_s sqrt(1 - (alpha_t sigma_s / (alpha_s sigma_t))^2)`` and ``c2 = sqrt(sigma_s^2 - c1^2)``."""
    (alpha_t, alpha_s), (sigma_t, sigma_s) = alphas, sigmas
    c1 = eta * sigma_s * jnp.sqrt(jnp.maximum(1 - (alpha_t * sigma_s / (alpha_s * sigma_t)) ** 2, 0.0))
    return c1, jnp.sqrt(jnp.maximum(sigma_s**2 - c1**2, 0.0))


def ddim_transition(
    z: Image,
    x_hat: Image,
    eps_hat: Image,
    alphas: Scales,
    sigmas: tuple[jax.Array, jax.Array],
    eta: jax.Array | float,
) -> Image:
    """``x_s = alpha_s x_hat + c1 z + c2 eps_hat`` from level t to the cleaner level s, with ``ddim_scales``.

    Where ``x_t = alpha_t x_hat + sigma_t eps_hat`` and eta = 1, this draws from q(x_s | x_t, x_0 = x_hat): it is the
    ancestral sampler's (DDPM's) transition with the posterior's variance.

    Args:
        z: Standard normal noise.
        x_hat: Tweedie estimate at level t.
        eps_hat: Noise prediction at level t.
        alphas: (alpha_t, alpha_s).
        sigmas: (sigma_t, sigma_s).
        eta: 0 is deterministic, 1 the ancestral sampler.

    Source:
        Song et al. 2021 (arXiv 2010.02502), eq. 12 and 16, written so that it holds for every schedule.
    """
    c1, c2 = ddim_scales(alphas, sigmas, eta)
    return alphas[1] * x_hat + c1 * z + c2 * eps_hat
