"""The posterior mean E[x_0 | x_t] and its Jacobian, from one evaluation of the network."""

from collections.abc import Callable

import jax

from reddiff_jax._types import Condition, Image, Timestep
from reddiff_jax.priors import Prior


def tweedie(prior: Prior, x_t: Image, t: Timestep, cond: Condition = None) -> tuple[Image, Image]:
    """Returns ``x_hat = (x_t - sigma_t eps_hat) / alpha_t`` and eps_hat."""
    alpha_t, sigma_t = prior.schedule(t)
    eps_hat = prior.eps(x_t, t, cond)
    return (x_t - sigma_t * eps_hat) / alpha_t, eps_hat


def tweedie_vjp(
    prior: Prior, x_t: Image, t: Timestep, cond: Condition = None
) -> tuple[Image, Image, Callable[[Image], Image]]:
    """Returns x_hat, eps_hat and the map ``v -> (d x_hat / d x_t)^T v``."""
    x_hat, pull, eps_hat = jax.vjp(lambda x_t: tweedie(prior, x_t, t, cond), x_t, has_aux=True)
    return x_hat, eps_hat, lambda v: pull(v.astype(x_hat.dtype))[0]
