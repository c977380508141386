"""MMPS: moment matching posterior sampling, which knows how uncertain the prior's estimate is, and in which directions.

Tweedie's second formula gives the covariance of x_0 given x_t from the Jacobian J of the posterior mean,

    V_t = Cov[x_0 | x_t] = (sigma_t^2 / alpha_t) J,   J = d x_hat / d x_t

With p(x_0 | x_t) = N(x_hat, V_t) and y = A x_0 + sigma_y n the likelihood of x_t is Gaussian, and (Rozet et al. 2024,
arXiv 2405.13712) the mean of x_0 given x_t and y is

    x_y = x_hat + V_t^T A^T (sigma_y^2 I + A V_t A^T)^-1 (y - A x_hat)

which takes the place of x_hat in the sampler. The inverse is applied by a few steps of conjugate gradients, each of
which costs one derivative of the network; V_t is never stored. For a Gaussian prior all of this is exact, so that the
sampler is exact in the limit of many steps. A nonlinear operator is linearised at x_hat.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array

from reddiff_jax import schedules
from reddiff_jax._checks import check_whole
from reddiff_jax._conjugate_gradients import conjugate_gradients
from reddiff_jax._types import Image, Timestep
from reddiff_jax.operators import LinearOperator, Operator
from reddiff_jax.priors import Prior, check_prior
from reddiff_jax.problems import Problem
from reddiff_jax.solvers._base import LIKELIHOOD, scalar
from reddiff_jax.solvers._initial_images import Init, init_zeros
from reddiff_jax.solvers._sampler import Sampler, check_sampler
from reddiff_jax.solvers._transition import ddim_transition


@struct.dataclass
class MMPS(Sampler):
    """MMPS; build it with ``mmps``."""

    eta: jax.Array
    num_cg: int = struct.field(pytree_node=False)
    clip: bool = struct.field(pytree_node=False)

    remedy = f"Use rd.dps, or {LIKELIHOOD}."

    def update(self, z: Image, x_t: Image, t: Timestep, s: Timestep, problem: Problem) -> tuple[Image, Image]:
        """DDIM's step with x_y in place of x_hat."""
        alphas, sigmas = self.scales(t, s)
        x_hat, _, pull = self.tweedie_vjp(x_t, t, problem)
        forward, adjoint = _linearized(problem.operator, x_hat)
        sigma_y = self.sigma_y(problem)

        def covariance(v: Image) -> Image:
            # The pull-back applies J^T, which equals J where the prior is exact.
            return sigmas[0] ** 2 / alphas[0] * pull(v)

        # The V_t of a network may have negative directions, along which steps would grow without bound. The threshold
        # is half of sigma_y^2, because rounding may take a V_t of zero below zero.
        weights = conjugate_gradients(
            lambda v: sigma_y**2 * v + forward(covariance(adjoint(v))),
            -problem.residual(x_hat),
            self.num_cg,
            smallest=sigma_y**2 / 2,
        )
        x_y = x_hat + covariance(adjoint(weights))
        x_y = jnp.clip(x_y, -1, 1) if self.clip else x_y
        eps_y = (x_t - alphas[0] * x_y) / sigmas[0]
        return ddim_transition(z, x_y, eps_y, alphas, sigmas, self.eta), x_y

    def check(self, problem: Problem) -> None:
        """Gaussian noise is needed; any differentiable operator serves."""
        self.sigma_y(problem)


def _linearized(operator: Operator, x: Image) -> tuple[Callable[[Image], Array], Callable[[Array], Image]]:
    """The operator's derivative at x and its adjoint under the real inner product."""
    if isinstance(operator, LinearOperator):
        return operator, operator.adjoint

    def adjoint(v: Array) -> Image:
        return jax.grad(lambda x: jnp.sum(jnp.real(jnp.conj(v) * operator(x))))(x)

    return lambda v: jax.jvp(operator.__call__, (x,), (v,))[1], adjoint


def mmps(
    prior: Prior,
    *,
    eta: jax.Array | float = 1.0,
    num_steps: int = 100,
    num_cg: int = 3,
    clip: bool = False,
    init: Init = init_zeros,
    spacing: schedules.Spacing = schedules.linspace,
) -> MMPS:
    """MMPS, for any differentiable operator and Gaussian noise.

    Args:
        prior: Diffusion prior; it must be differentiable.
        eta: Part of the noise that is fresh, in [0, 1]; 1 is the ancestral sampler.
        num_steps: Number of network evaluations, each differentiated ``num_cg + 1`` times.
        num_cg: Steps of conjugate gradients; the paper finds that few suffice. Too few understate the pull of y.
        clip: Clip x_y to [-1, 1]. A trained network's derivative is not exact, and at high noise sigma_t^2 / alpha_t
            multiplies its errors by thousands: without it some pictures diverge.
        init: Initial image, noised as in ``ddim``; ``init_zeros`` for pure noise.
        spacing: How the grid of timesteps is chosen, see ``Schedule.timesteps``.

    Raises:
        ValueError: For values that make no sense.

    Source:
        Rozet et al. 2024 (arXiv 2405.13712), section 4.2 and algorithm 2. Departures: the sampler is DDIM's with any
        eta; conjugate gradients take no step along which the network's covariance is negative. For a nonlinear operator
        A is its derivative at x_hat.
    """
    check_prior("mmps", prior)
    check_sampler(eta)
    check_whole("num_cg", num_cg)
    timesteps = prior.schedule.timesteps(num_steps, spacing=spacing)
    return MMPS(prior, timesteps, init, eta=scalar(eta), num_cg=num_cg, clip=clip)
