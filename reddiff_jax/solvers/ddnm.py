"""DDNM: each estimate keeps its null-space part from the network, and takes its range-space part from y.

Noiseless (Wang et al. 2023, arXiv 2212.00490, algorithm 1):

    x_hat' = x_hat - A+ (A x_hat - y),   x_s ~ q(x_s | x_t, x_hat')

q is DDIM's transition with eps_hat' = (x_t - alpha_t x_hat') / sigma_t, that is a mean in which x_hat' has the factor
a = alpha_s - c2 alpha_t / sigma_t, and fresh noise c1 z. DDNM+ accounts for the noise in y (eq. 17 and 18), by a
lambda_i <= 1 for each singular value s_i:

    x_hat' = x_hat - V diag(lambda) V^T A+ (A x_hat - y),   noise V diag(sqrt(c1^2 - (a lambda sigma_y / s)^2)) V^T z
    lambda_i = min(1, c1 s_i / (a sigma_y))

No network is differentiated.
"""

import jax
import jax.numpy as jnp
from flax import struct

from reddiff_jax import schedules
from reddiff_jax._types import Image, Timestep
from reddiff_jax.priors import Prior, check_prior
from reddiff_jax.problems import Problem
from reddiff_jax.solvers._base import scalar
from reddiff_jax.solvers._initial_images import Init, init_zeros
from reddiff_jax.solvers._sampler import Sampler, check_sampler
from reddiff_jax.solvers._transition import ddim_scales, ddim_transition


@struct.dataclass
class DDNM(Sampler):
    """DDNM and DDNM+; build it with ``ddnm``."""

    eta: jax.Array
    noisy: bool = struct.field(pytree_node=False)

    remedy = "Use rd.ddnm(..., noisy=False), which ignores the noise and needs only a pinv, or rd.dps or rd.reddiff."

    def update(self, z: Image, x_t: Image, t: Timestep, s: Timestep, problem: Problem) -> tuple[Image, Image]:
        """``x_s ~ q(x_s | x_t, x_hat')``, where the noise in y replaces a part of the drawn noise."""
        alphas, sigmas = self.scales(t, s)
        x_hat, _ = self.tweedie(x_t, t, problem)
        if self.noisy:
            c1, c2 = ddim_scales(alphas, sigmas, self.eta)
            x_y, z = self._share_noise(z, x_hat, c1, alphas[1] - c2 * alphas[0] / sigmas[0], problem)
        else:
            x_y = x_hat - problem.operator.pinv(problem.residual(x_hat))
        eps_y = (x_t - alphas[0] * x_y) / sigmas[0]
        return ddim_transition(z, x_y, eps_y, alphas, sigmas, self.eta), x_hat

    def check(self, problem: Problem) -> None:
        """The noisy form needs singular values and Gaussian noise."""
        if self.noisy:
            self.spectrum(problem)
            self.sigma_y(problem)

    def _share_noise(
        self, z: Image, x_hat: Image, c1: jax.Array, a: jax.Array, problem: Problem
    ) -> tuple[Image, Image]:
        """Returns x_hat' and a z' such that c1 z' plus the noise of y in a x_hat' has standard deviation c1."""
        operator, s, kept = self.spectrum(problem)
        inverse = jnp.where(kept, 1 / jnp.where(kept, s, 1.0), 0.0)
        brought = a * self.sigma_y(problem) * inverse  # by lambda = 1
        too_noisy = c1 < brought
        lam = jnp.where(too_noisy, c1 / jnp.where(too_noisy, brought, 1.0), 1.0)
        share = lam * brought / jnp.where(c1 > 0, c1, 1.0)
        x_hat = x_hat - operator.V(lam * inverse * operator.Ut(problem.residual(x_hat)))
        return x_hat, operator.V(jnp.sqrt(jnp.maximum(1 - share**2, 0.0)) * operator.Vt(z))


def ddnm(
    prior: Prior,
    *,
    eta: jax.Array | float = 1.0,
    num_steps: int = 100,
    noisy: bool = True,
    init: Init = init_zeros,
    spacing: schedules.Spacing = schedules.linspace,
) -> DDNM:
    """DDNM+, or DDNM with ``noisy=False``.

    Args:
        prior: Diffusion prior.
        eta: Part of the noise that is fresh, in [0, 1]; 1 is the paper's ancestral transition. The noise in y
            takes the place of fresh noise: with eta = 0 there is none, and a noisy y is ignored.
        num_steps: Number of network evaluations (100 in the paper's comparisons).
        noisy: DDNM+, which uses ``problem.noise.sigma_y``: needs a SpectralOperator and Gaussian noise. False is DDNM
            for any linear operator with a pinv.
        init: Initial image, noised as in ``ddim``; ``init_zeros`` for pure noise, as in the paper.
        spacing: How the grid of timesteps is chosen, see ``Schedule.timesteps``.

    Raises:
        ValueError: If ``eta`` is outside [0, 1] or ``num_steps`` does not fit the schedule.

    Source:
        Wang et al. 2023 (arXiv 2212.00490), algorithm 1 and eq. 17 and 18. Departures: the transition has DDIM's eta
        (1 is the paper's); the time-travel of its section 3.3 is left out.
    """
    check_prior("ddnm", prior)
    check_sampler(eta)
    timesteps = prior.schedule.timesteps(num_steps, spacing=spacing)
    return DDNM(prior, timesteps, init, eta=scalar(eta), noisy=noisy)
