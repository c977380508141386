"""DAPS: posterior sampling by annealing whose levels are decoupled, so that early mistakes can be undone.

At each noise level the prior's reverse flow is followed all the way down, some Langevin steps draw a clean image that
also explains y, and that image is noised afresh to the next level (Zhang et al. 2024, arXiv 2407.01521):

    x_hat  = a few steps of the probability flow (DDIM, eta = 0) from x_t to t = -1
    x_0   <- x_0 - h ((x_0 - x_hat) / r_t^2 + J_A^T (A(x_0) - y) / sigma^2) + sqrt(2 h) z,   from x_0 = x_hat
    x_s    = alpha_s x_0 + sigma_s z,   r_t = sigma_t / alpha_t

The second line draws from p(x_0 | x_t, y) with p(x_0 | x_t) taken for N(x_hat, r_t^2 I). No network is differentiated,
and A may be any differentiable operator. Langevin's steps are not corrected: in a direction of curvature k they inflate
the variance by 1 / (1 - h k / 2), and from h k = 2 on they diverge.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax import schedules
from reddiff_jax._checks import check_callable, check_positive, check_whole
from reddiff_jax._types import Image, Key, Timestep
from reddiff_jax.priors import Prior, check_prior
from reddiff_jax.problems import Problem
from reddiff_jax.solvers._base import scalar
from reddiff_jax.solvers._initial_images import Init, init_zeros
from reddiff_jax.solvers._sampler import Sampler
from reddiff_jax.solvers._transition import ddim_transition

_LEAST_SIGMA = 0.01

# ---- sizes of the Langevin steps: (r_t, sigma, t / T) -> h, before the factor ``step_size``

StepSize = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def daps_curvature(r_t: jax.Array, sigma: jax.Array, fraction: jax.Array) -> jax.Array:
    """Langevin steps of 1 / (1 / r_t^2 + 1 / sigma^2), the inverse curvature where |A| = 1: stable at every level."""
    return 1 / (1 / r_t**2 + 1 / sigma**2)


def daps_linear(r_t: jax.Array, sigma: jax.Array, fraction: jax.Array) -> jax.Array:
    """Langevin steps that fall linearly from 1 to 0.01, as in the paper: with ``step_size=1e-4`` and ``sigma_y=0.01``.

    Wherever sigma_y is much below that, such steps diverge.
    """
    return 0.01 + 0.99 * fraction


@struct.dataclass
class DAPS(Sampler):
    """DAPS; build it with ``daps``."""

    step_size: jax.Array
    likelihood_sigma: jax.Array | None  # scalar; None takes the problem's
    step_rule: StepSize = struct.field(pytree_node=False)
    num_ode: int = struct.field(pytree_node=False)
    num_langevin: int = struct.field(pytree_node=False)

    remedy = "Give rd.daps(..., sigma_y=...) the level at which residuals are to be trusted, or use rd.reddiff."

    def draw(self, key: Key, x_t: Image) -> Float[Array, "K H W C"]:
        """Draws the noise of the Langevin steps, and last that of the next level."""
        return jax.random.normal(key, (self.num_langevin + 1, *x_t.shape), x_t.dtype)

    def update(self, z: Array, x_t: Image, t: Timestep, s: Timestep, problem: Problem) -> tuple[Image, Image]:
        """Follows the flow, does the Langevin steps, noises the result to the next level; ``z`` is ``draw``'s."""
        (alpha_t, alpha_s), (sigma_t, sigma_s) = self.scales(t, s)
        sigma, r_t = self._sigma(problem), sigma_t / alpha_t
        size = self.step_size * self.step_rule(r_t, sigma, t / jnp.maximum(self.timesteps[0], 1).astype(float))
        x_hat = self.flow(x_t, t, problem)
        x_0 = langevin(z[:-1], x_hat, r_t, sigma, size, problem)
        return alpha_s * x_0 + sigma_s * z[-1], x_0

    def flow(self, x_t: Image, t: Timestep, problem: Problem) -> Image:
        """Follows the probability flow from level t to the clean image in ``num_ode`` even steps."""
        ts = jnp.append(jnp.round(t * (1 - jnp.arange(self.num_ode) / self.num_ode)).astype(jnp.int32), -1)

        def step(x_t: Image, levels: tuple) -> tuple[Image, None]:
            x_hat, eps_hat = self.tweedie(x_t, levels[0], problem)
            alphas, sigmas = self.scales(*levels)
            x_s = ddim_transition(jnp.zeros_like(x_t), x_hat, eps_hat, alphas, sigmas, 0.0)
            return x_s.astype(x_t.dtype), None

        return jax.lax.scan(step, x_t, (ts[:-1], ts[1:]))[0]

    def check(self, problem: Problem) -> None:
        """Without ``sigma_y`` the noise must be Gaussian; any differentiable operator serves."""
        self._sigma(problem)

    def _sigma(self, problem: Problem) -> Float[Array, ""]:
        if self.likelihood_sigma is not None:
            return self.likelihood_sigma
        return jnp.maximum(self.sigma_y(problem), _LEAST_SIGMA)


def langevin(
    z: Float[Array, "K H W C"], x_hat: Image, r_t: jax.Array, sigma: jax.Array, size: jax.Array, problem: Problem
) -> Image:
    """K Langevin steps of this size towards N(x_hat, r_t^2 I) times the likelihood, from x_hat."""

    def step(x_0: Image, z: Image) -> tuple[Image, None]:
        pull = (x_0 - x_hat) / r_t**2 + problem.misfit_gradient(x_0) / sigma**2
        return (x_0 - size * pull + jnp.sqrt(2 * size) * z).astype(x_0.dtype), None

    return jax.lax.scan(step, x_hat, z)[0]


def daps(
    prior: Prior,
    *,
    num_steps: int = 200,
    num_ode: int = 5,
    num_langevin: int = 100,
    step_size: jax.Array | float = 0.1,
    step_rule: StepSize = daps_curvature,
    sigma_y: jax.Array | float | None = None,
    init: Init = init_zeros,
    spacing: schedules.Spacing = schedules.linspace,
) -> DAPS:
    """DAPS, for any differentiable operator.

    The paper's setting is ``rd.daps(prior, step_size=1e-4, step_rule=rd.solvers.daps_linear, sigma_y=0.01)``.

    Args:
        prior: Diffusion prior.
        num_steps: Number of annealing levels; 200 is the paper's DAPS-1k, which costs 1000 network evaluations.
        num_ode: Network evaluations at each level (5 in DAPS-1k, 10 in DAPS-4k).
        num_langevin: Langevin steps at each level, which cost the operator and not the network; 100 in the paper.
        step_size: Factor of the Langevin steps. With ``daps_curvature`` it is a fraction of the inverse curvature: 0.1
            inflates variances by 5 %; steps diverge from 2 on, or earlier where the operator's norm is above 1.
        step_rule: ``daps_curvature``, ``daps_linear`` or a function (r_t, sigma, t / T) -> size.
        sigma_y: Noise level of the likelihood in the units of y; None takes ``problem.noise.sigma_y``, but at least
            0.01, the value that the paper's code has for any noise.
        init: Initial image, noised as in ``ddim``; ``init_zeros`` for pure noise, as in the paper.
        spacing: How the grid of timesteps is chosen, see ``Schedule.timesteps``.

    Raises:
        ValueError: For values that make no sense.

    Source:
        Zhang et al. 2024 (arXiv 2407.01521), algorithm 1 and appendix. Departures: levels and the flow's steps are even
        in t (the paper's in sigma^(1/7), from 100 to 0.1); a level ends in its own r_t; steps follow the curvature by
        default, so that one setting serves every sigma_y.
    """
    check_prior("daps", prior)
    check_positive("step_size", step_size)
    if sigma_y is not None:
        check_positive("sigma_y", sigma_y)
    check_whole("num_ode", num_ode)
    check_whole("num_langevin", num_langevin)
    check_callable("step_rule", step_rule, "a function (r_t, sigma, t / T) -> size, such as rd.solvers.daps_curvature")
    timesteps = prior.schedule.timesteps(num_steps, spacing=spacing)
    return DAPS(
        prior,
        timesteps,
        init,
        step_size=scalar(step_size),
        likelihood_sigma=None if sigma_y is None else scalar(sigma_y),
        step_rule=step_rule,
        num_ode=num_ode,
        num_langevin=num_langevin,
    )
