"""DPS: a sampler of the prior, pulled at each step towards images whose estimate explains y.

p(y | x_t) is replaced by p(y | x_hat(x_t)), whose gradient goes through the network (Chung et al. 2023, arXiv
2209.14687):

    x_s = alpha_s x_hat + c1 z + c2 eps_hat - scale / |r| * grad_{x_t} |r|^2,   r = A(x_hat(x_t)) - y

a sum over the entries of y. The derivative of the network costs about twice its evaluation, and the memory of its
activations.
"""

import jax
import jax.numpy as jnp
from flax import struct

from reddiff_jax import schedules
from reddiff_jax._types import Image, Timestep
from reddiff_jax.priors import Prior, check_prior
from reddiff_jax.problems import Problem
from reddiff_jax.solvers._base import scalar
from reddiff_jax.solvers._initial_images import Init, init_pinv
from reddiff_jax.solvers._sampler import Sampler, check_sampler, safe_norm
from reddiff_jax.solvers._transition import ddim_transition


@struct.dataclass
class DPS(Sampler):
    """DPS; build it with ``dps``."""

    scale: jax.Array
    eta: jax.Array
    normalized: bool = struct.field(pytree_node=False)
    clip: bool = struct.field(pytree_node=False)

    def update(self, z: Image, x_t: Image, t: Timestep, s: Timestep, problem: Problem) -> tuple[Image, Image]:
        """``x_s = alpha_s x_hat + c1 z + c2 eps_hat - weight * grad |r|^2``."""
        alphas, sigmas = self.scales(t, s)
        x_hat, eps_hat, pull = self.tweedie_vjp(x_t, t, problem)
        inside = jnp.abs(x_hat) <= 1
        if self.clip:
            x_hat = jnp.clip(x_hat, -1, 1)
            eps_hat = (x_t - alphas[0] * x_hat) / sigmas[0]
        towards = 2 * problem.misfit_gradient(x_hat)
        gradient = pull(jnp.where(inside, towards, 0) if self.clip else towards)
        weight = 1 / safe_norm(problem.misfit(x_hat)) if self.normalized else alphas[0] * alphas[1]
        x_s = ddim_transition(z, x_hat, eps_hat, alphas, sigmas, self.eta)
        return x_s - self.scale * weight * gradient, x_hat


def dps(
    prior: Prior,
    *,
    scale: jax.Array | float = 0.5,
    eta: jax.Array | float = 0.5,
    num_steps: int = 1000,
    normalized: bool = True,
    clip: bool = False,
    init: Init = init_pinv,
    spacing: schedules.Spacing = schedules.linspace,
) -> DPS:
    """DPS, by default in the DDIM form that RED-diff was compared with.

    The original is ancestral, from noise, with estimates clipped:
    ``rd.dps(prior, eta=1.0, clip=True, init=rd.solvers.init_zeros)``.

    Args:
        prior: Diffusion prior; it must be differentiable.
        scale: Weight of the guidance, the zeta' of the paper. Published values: 0.5 for inpainting, 1 for
            super-resolution x4. Code that steps along the gradient of |r| instead of |r|^2 / |r|, as the authors' own,
            needs twice the number for the same step.
        eta: Part of the noise that is fresh, in [0, 1]; 1 is the ancestral transition of the paper, whose variance is
            here the posterior's instead of one learned by the network.
        num_steps: Number of network evaluations, each differentiated (1000 in the paper).
        normalized: Divide by |r|, so that steps have one length whatever the misfit; False multiplies by
            alpha_t alpha_s instead (with ``scale=1`` the published ``original=False``).
        clip: Clip x_hat to [-1, 1] in the transition (eps_hat then follows from it) and in the residual, as the
            authors' code does.
        init: Initial image, noised as in ``ddim``; the pseudo-inverse as published with RED-diff.
        spacing: How the grid of timesteps is chosen, see ``Schedule.timesteps``.

    Raises:
        ValueError: For values that make no sense.

    Source:
        Chung et al. 2023 (arXiv 2209.14687), algorithm 1; the DDIM form: the comparison in Mardani et al. 2023 (arXiv
        2305.04391). Departures: |r| is one sample's, and the initial image does not depend on y where
        ``init=init_zeros``.
    """
    check_prior("dps", prior)
    check_sampler(eta, scale=scale)
    timesteps = prior.schedule.timesteps(num_steps, spacing=spacing)
    return DPS(prior, timesteps, init, scale=scalar(scale), eta=scalar(eta), normalized=normalized, clip=clip)
