"""DDRM: sampling in the singular vectors of the operator, where y is one noisy number per coefficient.

With A = U S V^T, bars for coefficients (x_bar = V^T x_hat, y_bar = S+ U^T y, eps_bar = V^T eps_hat), the noise
sigma_y / s_i of y_bar, and sigma = sigma_s / alpha_s that of the next level in the units of x_0, the coefficients of
x_s / alpha_s are drawn around (Kawar et al. 2022, arXiv 2201.11793, section 3.2)

    s_i = 0:               x_bar + sqrt(1 - eta^2) sigma eps_bar                          + eta sigma z
    sigma < sigma_y / s_i: x_bar + sqrt(1 - eta^2) sigma (y_bar - x_bar) s_i / sigma_y    + eta sigma z
    sigma >= sigma_y / s_i: (1 - eta_b) x_bar + eta_b y_bar  + sqrt(sigma^2 - eta_b^2 sigma_y^2 / s_i^2) z

so that each level would have exactly its own noise if x_hat were the true image. No network is differentiated.
"""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array

from reddiff_jax import schedules
from reddiff_jax._types import Image, Timestep
from reddiff_jax.operators import SpectralOperator
from reddiff_jax.priors import Prior, check_prior
from reddiff_jax.problems import Problem
from reddiff_jax.solvers._base import scalar
from reddiff_jax.solvers._initial_images import init_zeros
from reddiff_jax.solvers._sampler import Sampler, check_sampler


@struct.dataclass
class DDRM(Sampler):
    """DDRM; build it with ``ddrm``."""

    eta: jax.Array
    eta_b: jax.Array

    def update(self, z: Image, x_t: Image, t: Timestep, s: Timestep, problem: Problem) -> tuple[Image, Image]:
        """The three cases of the module's formula."""
        operator, y_bar, noise, kept = self._measurement(problem)
        (_, alpha_s), (_, sigma_s) = self.scales(t, s)
        x_hat, eps_hat = self.tweedie(x_t, t, problem)
        x_bar, eps_bar, z = operator.Vt(x_hat), operator.Vt(eps_hat), operator.Vt(z)
        sigma = sigma_s / alpha_s
        along, fresh = jnp.sqrt(1 - self.eta**2) * sigma, self.eta * sigma * z
        missing = x_bar + along * eps_bar + fresh
        is_noisier = sigma < noise
        noisier = x_bar + along * (y_bar - x_bar) / jnp.where(is_noisier, noise, 1.0) + fresh
        spread = jnp.sqrt(jnp.maximum(sigma**2 - (self.eta_b * noise) ** 2, 0.0))
        cleaner = (1 - self.eta_b) * x_bar + self.eta_b * y_bar + spread * z
        x_bar = jnp.where(kept, jnp.where(is_noisier, noisier, cleaner), missing)
        return alpha_s * operator.V(x_bar), x_hat

    def first_x_t(self, z: Image, initial: Image, problem: Problem) -> Image:
        """Noise around y_bar where y is cleaner than the first level, around the initial image elsewhere."""
        operator, y_bar, noise, kept = self._measurement(problem)
        alpha_t, sigma_t = self.prior.schedule(self.timesteps[0])
        sigma, z = sigma_t / alpha_t, operator.Vt(z)
        known = y_bar + jnp.sqrt(jnp.maximum(sigma**2 - noise**2, 0.0)) * z
        return alpha_t * operator.V(jnp.where(kept & (sigma > noise), known, operator.Vt(initial) + sigma * z))

    def check(self, problem: Problem) -> None:
        """Singular values and Gaussian noise are needed."""
        self._measurement(problem)

    def _measurement(self, problem: Problem) -> tuple[SpectralOperator, Array, Array, Array]:
        """The operator, y_bar, its noise sigma_y / s, and which coefficients are measured."""
        operator, s, kept = self.spectrum(problem)
        inverse = jnp.where(kept, 1 / jnp.where(kept, s, 1.0), 0.0)
        return operator, inverse * operator.Ut(problem.y), self.sigma_y(problem) * inverse, kept


def ddrm(
    prior: Prior,
    *,
    eta: jax.Array | float = 0.85,
    eta_b: jax.Array | float = 1.0,
    num_steps: int = 20,
    spacing: schedules.Spacing = schedules.linspace,
) -> DDRM:
    """DDRM, for linear operators with a singular value decomposition and Gaussian noise.

    Args:
        prior: Diffusion prior.
        eta: Part of the noise that is fresh where y says nothing or too little, in [0, 1]; 0.85 in the paper.
        eta_b: Weight of y against x_hat where y is cleaner than the level, in [0, 1]; 1 in the paper.
        num_steps: Number of network evaluations (20 in the paper).
        spacing: How the grid of timesteps is chosen, see ``Schedule.timesteps``.

    Raises:
        ValueError: If ``eta`` or ``eta_b`` is outside [0, 1], or ``num_steps`` does not fit the schedule.

    Source:
        Kawar et al. 2022 (arXiv 2201.11793), section 3.2. Departures: sigma_y is in the units of y, not doubled; what
        was not measured is never driven by the noise in y; the last step of a noiseless problem keeps y (the published
        code returns x_hat); x_T is scaled by alpha_T, which the published code approximates.
    """
    check_prior("ddrm", prior)
    check_sampler(eta)
    check_sampler(eta_b, name="eta_b")
    timesteps = prior.schedule.timesteps(num_steps, spacing=spacing)
    return DDRM(prior, timesteps, init_zeros, eta=scalar(eta), eta_b=scalar(eta_b))
