"""MCG: a gradient through the network for what was not measured, and replacement of what was.

Chung et al. 2022 (arXiv 2206.00941), with P = A+ A the projection on what the operator sees, and a step of DDIM x':

    x_s = (I - P) (x' - weight * grad_{x_t} |A+ y - P x_hat(x_t)|^2) + P (alpha_s A+ y + sigma_s z)

The squared norm is a sum over pixels. x' and the noised measurement may share their z, since one is used outside the
range of P and the other inside. MCG assumes that y has no noise.
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
from reddiff_jax.solvers._proximal import check_linear
from reddiff_jax.solvers._sampler import Sampler, check_sampler, safe_norm
from reddiff_jax.solvers._transition import ddim_transition


@struct.dataclass
class MCG(Sampler):
    """MCG; build it with ``mcg``."""

    scale: jax.Array
    eta: jax.Array
    normalized: bool = struct.field(pytree_node=False)

    def update(self, z: Image, x_t: Image, t: Timestep, s: Timestep, problem: Problem) -> tuple[Image, Image]:
        """``x_s = (I - P) (x' - weight * grad) + P (alpha_s A+ y + sigma_s z)``."""
        alphas, sigmas = self.scales(t, s)

        def project(x: Image) -> Image:
            return problem.operator.pinv(problem.operator(x))

        x_hat, eps_hat, pull = self.tweedie_vjp(x_t, t, problem)
        measured = problem.operator.pinv(problem.y)
        difference = project(x_hat) - measured
        gradient = pull(2 * project(difference))
        weight = 1 / safe_norm(0.5 * jnp.sum(difference**2)) if self.normalized else alphas[0]
        unseen = ddim_transition(z, x_hat, eps_hat, alphas, sigmas, self.eta) - self.scale * weight * gradient
        seen = alphas[1] * measured + sigmas[1] * z
        return unseen + project(seen - unseen), x_hat

    def check(self, problem: Problem) -> None:
        """A linear operator is needed, or A+ A is no projection."""
        check_linear("mcg", problem, self.remedy)


def mcg(
    prior: Prior,
    *,
    scale: jax.Array | float = 0.1,
    eta: jax.Array | float = 1.0,
    num_steps: int = 1000,
    normalized: bool = True,
    init: Init = init_pinv,
    spacing: schedules.Spacing = schedules.linspace,
) -> MCG:
    """MCG, for noiseless linear measurements; made for inpainting.

    Args:
        prior: Diffusion prior; it must be differentiable.
        scale: Weight of the gradient. Default: ours; tune it for each task.
        eta: Part of the noise that is fresh, in [0, 1]; 1 is the paper's ancestral transition.
        num_steps: Number of network evaluations, each differentiated (1000 in the paper).
        normalized: Divide the gradient of the squared norm by the norm; False multiplies it by alpha_t, as
            published with RED-diff, whose authors report NaNs.
        init: Initial image, noised as in ``ddim``; the pseudo-inverse as published with RED-diff.
        spacing: How the grid of timesteps is chosen, see ``Schedule.timesteps``.

    Raises:
        ValueError: For values that make no sense.

    Source:
        Chung et al. 2022 (arXiv 2206.00941), section 3; the DDIM form: the comparison in Mardani et al. 2023 (arXiv
        2305.04391). Departure: any linear operator with a pseudo-inverse serves, not only masks.
    """
    check_prior("mcg", prior)
    check_sampler(eta, scale=scale)
    timesteps = prior.schedule.timesteps(num_steps, spacing=spacing)
    return MCG(prior, timesteps, init, scale=scalar(scale), eta=scalar(eta), normalized=normalized)
