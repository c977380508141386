"""DiffPIR: plug-and-play restoration in which a sampler of the prior is the denoiser.

Half-quadratic splitting alternates the prior's estimate at one noise level with a proximal step on the measurement, and
noises the result to the next level (Zhu et al. 2023, arXiv 2305.08995):

    x_0     = E[x_0 | x_t]
    x_hat   = argmin_x |A x - y|^2 + rho_t |x - x_0|^2,   rho_t = lam sigma_y^2 / r_t^2,   r_t = sigma_t / alpha_t
    eps_hat = (x_t - alpha_t x_hat) / sigma_t
    x_s     = alpha_s x_hat + sigma_s (sqrt(1 - zeta) eps_hat + sqrt(zeta) z)

With lam = 1 the second line is the mean of the posterior if p(x_0 | x_t) were N(x_0, r_t^2 I). No network is
differentiated.
"""

import jax
import jax.numpy as jnp
from flax import struct

from reddiff_jax import schedules
from reddiff_jax._checks import check_whole
from reddiff_jax._types import Image, Timestep
from reddiff_jax.priors import Prior, check_prior
from reddiff_jax.problems import Problem
from reddiff_jax.solvers._base import scalar
from reddiff_jax.solvers._initial_images import Init, init_zeros
from reddiff_jax.solvers._proximal import check_linear, proximal
from reddiff_jax.solvers._sampler import Sampler, check_sampler


@struct.dataclass
class DiffPIR(Sampler):
    """DiffPIR; build it with ``diffpir``."""

    lam: jax.Array
    zeta: jax.Array
    clip: bool = struct.field(pytree_node=False)
    num_cg: int = struct.field(pytree_node=False)

    remedy = "Use rd.daps, rd.dps or rd.reddiff."

    def update(self, z: Image, x_t: Image, t: Timestep, s: Timestep, problem: Problem) -> tuple[Image, Image]:
        """The four lines of the module's formula."""
        (alpha_t, alpha_s), (sigma_t, sigma_s) = self.scales(t, s)
        x_0 = self.prior.denoise(x_t, t, problem.cond)
        rho = self.lam * (self.sigma_y(problem) * alpha_t / sigma_t) ** 2
        x_hat = proximal(problem, jnp.clip(x_0, -1, 1) if self.clip else x_0, rho, self.num_cg)
        eps_hat = (x_t - alpha_t * x_hat) / sigma_t
        noise = jnp.sqrt(1 - self.zeta) * eps_hat + jnp.sqrt(self.zeta) * z
        return alpha_s * x_hat + sigma_s * noise, x_hat

    def check(self, problem: Problem) -> None:
        """A linear operator and Gaussian noise are needed."""
        check_linear("diffpir", problem, self.remedy)
        self.sigma_y(problem)


def diffpir(
    prior: Prior,
    *,
    lam: jax.Array | float = 1.0,
    zeta: jax.Array | float = 1.0,
    num_steps: int = 100,
    clip: bool = False,
    num_cg: int = 10,
    init: Init = init_zeros,
    spacing: schedules.Spacing = schedules.linspace,
) -> DiffPIR:
    """DiffPIR, for linear operators and Gaussian noise.

    Args:
        prior: Diffusion prior.
        lam: Weight of the prior's estimate in the proximal step. The paper tunes it by task; its code quotes sigma_y
            for images in [0, 1], so that its 1 is 0.25 here.
        zeta: Part of the noise that is fresh, in [0, 1]; the authors' configuration has 1 for inpainting and 0.1 for
            super-resolution.
        num_steps: Number of network evaluations (at most 100 in the paper).
        clip: Clip the prior's estimate to [-1, 1] before the proximal step, as the authors' code does.
        num_cg: Steps of conjugate gradients in the proximal step where the operator is no SpectralOperator.
        init: Initial image, noised as in ``ddim``; ``init_zeros`` for pure noise, as in the paper.
        spacing: How the grid of timesteps is chosen, see ``Schedule.timesteps``.

    Raises:
        ValueError: For values that make no sense.

    Source:
        Zhu et al. 2023 (arXiv 2305.08995), algorithm 1. Departures: for a noiseless measurement the step is a
        projection (rho = 0), where the paper's code assumes a little noise; timesteps are evenly spaced by default.
    """
    check_prior("diffpir", prior)
    check_sampler(zeta, name="zeta", lam=lam)
    check_whole("num_cg", num_cg)
    timesteps = prior.schedule.timesteps(num_steps, spacing=spacing)
    return DiffPIR(prior, timesteps, init, lam=scalar(lam), zeta=scalar(zeta), clip=clip, num_cg=num_cg)
