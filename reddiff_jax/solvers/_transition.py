"""The DDIM transition between noise levels, shared by the methods that walk them."""

import jax
import jax.numpy as jnp

from reddiff_jax._types import Image


def ddim_transition(
    z: Image,
    x_hat: Image,
    eps_hat: Image,
    alphas: tuple[jax.Array, jax.Array],
    sigmas: tuple[jax.Array, jax.Array],
    eta: jax.Array | float,
) -> Image:
    """``x_s = alpha_s x_hat + c1 z + c2 eps_hat`` from level t to the cleaner level s.

    ``c1 = eta sqrt((1 - (alpha_t / alpha_s)^2)) sigma_s / sigma_t`` and ``c2 = sqrt(sigma_s^2 - c1^2)``.

    Args:
        z: Standard normal noise.
        x_hat: Tweedie estimate at level t.
        eps_hat: Noise prediction at level t.
        alphas: (alpha_t, alpha_s).
        sigmas: (sigma_t, sigma_s).
        eta: 0 is deterministic, 1 the ancestral sampler.

    Source:
        Song et al. 2021 (arXiv 2010.02502), eq. 12 and 16, for variance-preserving schedules.
    """
    (alpha_t, alpha_s), (sigma_t, sigma_s) = alphas, sigmas
    c1 = eta * jnp.sqrt(1 - (alpha_t / alpha_s) ** 2) * sigma_s / sigma_t
    c2 = jnp.sqrt(jnp.maximum(sigma_s**2 - c1**2, 0.0))
    return alpha_s * x_hat + c1 * z + c2 * eps_hat
