"""DDIM: draws from the prior, and restores by noising and denoising an initial image (SDEdit).

With x_hat and eps_hat the prior's estimates at x_t, each step keeps the image and part of its noise (Song et al. 2021,
arXiv 2010.02502):

    x_s = alpha_s x_hat + c1 z + c2 eps_hat,   c1^2 + c2^2 = sigma_s^2

From pure noise this draws from the prior, and y plays no part. From ``alpha_T init + sigma_T z`` at a middle noise
level it keeps the large structures of the initial image and redraws the small ones (Meng et al. 2022, SDEdit, arXiv
2108.01073). It does not use y = A(x) again, so nothing keeps the result consistent with y.
"""

import jax
from flax import struct

from reddiff_jax import schedules
from reddiff_jax._types import Image, Timestep
from reddiff_jax.priors import Prior, check_prior
from reddiff_jax.problems import Problem
from reddiff_jax.solvers._base import scalar
from reddiff_jax.solvers._initial_images import Init, init_zeros
from reddiff_jax.solvers._sampler import Sampler, check_sampler
from reddiff_jax.solvers._transition import ddim_transition


@struct.dataclass
class DDIM(Sampler):
    """DDIM; build it with ``ddim``."""

    eta: jax.Array

    def update(self, z: Image, x_t: Image, t: Timestep, s: Timestep, problem: Problem) -> tuple[Image, Image]:
        """``x_s = alpha_s x_hat + c1 z + c2 eps_hat``."""
        alphas, sigmas = self.scales(t, s)
        x_hat, eps_hat = self.tweedie(x_t, t, problem)
        return ddim_transition(z, x_hat, eps_hat, alphas, sigmas, self.eta), x_hat


def ddim(
    prior: Prior,
    *,
    eta: jax.Array | float = 0.0,
    num_steps: int = 100,
    init: Init = init_zeros,
    spacing: schedules.Spacing = schedules.linspace,
) -> DDIM:
    """DDIM: samples of the prior; with an initial image, SDEdit.

    ``rd.run(key, rd.ddim(prior), rd.unconditional((H, W, C)))`` draws from the prior. SDEdit:
    ``rd.ddim(prior, init=rd.solvers.init_pinv, spacing=schedules.between(500))`` starts from the pseudo-inverse A+ y
    noised to t = 500, ``init=rd.solvers.init_given`` from ``problem.init``.

    Args:
        prior: Diffusion prior.
        eta: Part of the noise that is fresh, in [0, 1]: 0 (the paper's) is deterministic given x_T, 1 the ancestral
            sampler of DDPM. The code published with RED-diff has 0.5.
        num_steps: Number of network evaluations; 20 to 100 in the paper.
        init: Initial image, which the run noises to ``alpha_T init + sigma_T z``: ``init_zeros`` for pure noise,
            ``init_pinv``, ``init_given`` or a function (key, problem, alpha_T, sigma_T) -> image.
        spacing: How the grid of timesteps is chosen, see ``Schedule.timesteps``; ``schedules.between(500)`` starts in
            the middle.

    Raises:
        ValueError: If ``eta`` is outside [0, 1] or ``num_steps`` does not fit the schedule.

    Source:
        Song et al. 2021 (arXiv 2010.02502), eq. 12; Meng et al. 2022 (arXiv 2108.01073), algorithm 1.
    """
    check_prior("ddim", prior)
    check_sampler(eta)
    timesteps = prior.schedule.timesteps(num_steps, spacing=spacing)
    return DDIM(prior, timesteps, init, eta=scalar(eta))
