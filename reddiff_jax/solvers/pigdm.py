"""PiGDM: a sampler of the prior, guided by the pseudo-inverse of the operator.

With p(x_0 | x_t) = N(x_hat, r_t^2 I), r_t^2 = sigma_t^2 / (alpha_t^2 + sigma_t^2) (exact where the prior is N(0, I)),
and y = A x_0 + sigma_y n, the likelihood of x_t is Gaussian. Its score is, up to the factor r_t^2 (Song et al. 2023,
"Pseudoinverse-guided diffusion models for inverse problems", ICLR, eq. 7),

    g = (d x_hat / d x_t)^T v,   v = r_t^2 A^T (r_t^2 A A^T + sigma_y^2 I)^-1 (y - A x_hat)  ->  A+ (y - A x_hat)

for sigma_y -> 0, and

    x_s = alpha_s x_hat + c1 z + c2 eps_hat + scale * weight * g.

The noiseless form needs only a pseudo-inverse, v = A+(y) - A+(A(x_hat)), even of a nonlinear operator; the
noisy one is diagonal in the singular vectors: v = V [r_t^2 s / (r_t^2 s^2 + sigma_y^2)] U^T (y - A x_hat).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct

from reddiff_jax import schedules
from reddiff_jax._checks import check_callable
from reddiff_jax._types import Image, Timestep
from reddiff_jax.priors import Prior, check_prior
from reddiff_jax.problems import Problem
from reddiff_jax.solvers._base import scalar, scalar_unless_zero
from reddiff_jax.solvers._initial_images import Init, init_pinv
from reddiff_jax.solvers._sampler import Sampler, check_sampler
from reddiff_jax.solvers._transition import Scales, ddim_scales, ddim_transition

# ---- weights of the guidance: ((alpha_t, alpha_s), (sigma_t, sigma_s), c2) -> factor of g

GuidanceWeight = Callable[[Scales, Scales, jax.Array], jax.Array]


def pigdm_alphas(alphas: Scales, sigmas: Scales, c2: jax.Array) -> jax.Array:
    """Guidance weight alpha_t alpha_s, published with RED-diff."""
    return alphas[0] * alphas[1]


def pigdm_alpha_t(alphas: Scales, sigmas: Scales, c2: jax.Array) -> jax.Array:
    """Guidance weight alpha_t, that of the PiGDM paper's algorithm 1."""
    return alphas[0]


def pigdm_decayed(alphas: Scales, sigmas: Scales, c2: jax.Array) -> jax.Array:
    """Guidance weight alpha_t (alpha_s - c2 alpha_t / sigma_t): ``awd=False`` of the code published with RED-diff."""
    return alphas[0] * (alphas[1] - c2 * alphas[0] / sigmas[0])


def pigdm_posterior(alphas: Scales, sigmas: Scales, c2: jax.Array) -> jax.Array:
    """Guidance weight (alpha_s sigma_t^2 / alpha_t - c2 sigma_t) / r_t^2.

    It replaces the prior's score in x_hat and eps_hat by the posterior's. For the prior N(0, I), where r_t^2 is right,
    the sampler is then exact in the limit of many steps.
    """
    (alpha_t, alpha_s), sigma_t = alphas, sigmas[0]
    return (alpha_s / alpha_t - c2 / sigma_t) * (alpha_t**2 + sigma_t**2)


@struct.dataclass
class PiGDM(Sampler):
    """PiGDM; build it with ``pigdm``."""

    scale: jax.Array
    eta: jax.Array
    contrast: jax.Array | None  # scalar; None adds nothing
    noisy: bool = struct.field(pytree_node=False)
    weight: GuidanceWeight = struct.field(pytree_node=False)
    replace_observed: bool = struct.field(pytree_node=False)
    recompute_eps: bool = struct.field(pytree_node=False)

    remedy = "Use rd.pigdm(..., noisy=False), which ignores the noise and needs only a pinv, or rd.dps or rd.reddiff."

    def update(self, z: Image, x_t: Image, t: Timestep, s: Timestep, problem: Problem) -> tuple[Image, Image]:
        """``x_s = alpha_s x_hat + c1 z + c2 eps_hat + scale * weight * g``."""
        alphas, sigmas = self.scales(t, s)
        x_hat, eps_hat, pull = self.tweedie_vjp(x_t, t, problem)
        v = self._noisy_residual(x_hat, alphas[0], sigmas[0], problem) if self.noisy else _residual(x_hat, problem)
        if self.contrast is not None:
            v = v + self.contrast * jax.grad(lambda x: jnp.std(x, ddof=1))(x_hat)
        g, x_0 = pull(v), x_hat
        if self.replace_observed:
            x_0 = x_hat + _residual(x_hat, problem)
            g = g - problem.operator.pinv(problem.operator(g))
        if self.recompute_eps:
            eps_hat = (x_t - alphas[0] * x_0) / sigmas[0]
        _, c2 = ddim_scales(alphas, sigmas, self.eta)
        x_s = ddim_transition(z, x_0, eps_hat, alphas, sigmas, self.eta)
        return x_s + self.scale * self.weight(alphas, sigmas, c2) * g, x_hat

    def check(self, problem: Problem) -> None:
        """The noisy form needs singular values and Gaussian noise."""
        if self.noisy:
            self.spectrum(problem)
            self.sigma_y(problem)

    def _noisy_residual(self, x_hat: Image, alpha_t: jax.Array, sigma_t: jax.Array, problem: Problem) -> Image:
        operator, s, kept = self.spectrum(problem)
        r2 = sigma_t**2 / (alpha_t**2 + sigma_t**2)
        denominator = r2 * s**2 + self.sigma_y(problem) ** 2
        filtered = jnp.where(kept, r2 * s / jnp.where(kept, denominator, 1.0), 0.0)
        return operator.V(filtered * operator.Ut(-problem.residual(x_hat)))


def _residual(x_hat: Image, problem: Problem) -> Image:
    """``A+(y) - A+(A(x_hat))``."""
    pinv = problem.operator.pinv
    return pinv(problem.y) - pinv(problem.operator(x_hat))


def pigdm(
    prior: Prior,
    *,
    scale: jax.Array | float = 1.0,
    eta: jax.Array | float = 1.0,
    num_steps: int = 100,
    noisy: bool = True,
    weight: GuidanceWeight = pigdm_alphas,
    replace_observed: bool = False,
    recompute_eps: bool = False,
    contrast: jax.Array | float = 0.0,
    init: Init = init_pinv,
    spacing: schedules.Spacing = schedules.linspace,
) -> PiGDM:
    """PiGDM: pseudo-inverse guidance, aware of the measurement noise.

    The form published with RED-diff for inpainting is
    ``rd.pigdm(prior, noisy=False, replace_observed=True)``.

    Args:
        prior: Diffusion prior; it must be differentiable.
        scale: Weight of the guidance, 1 in the paper.
        eta: Part of the noise that is fresh, in [0, 1]; 1 in the papers' experiments.
        num_steps: Number of network evaluations, each differentiated (100 in the papers).
        noisy: Use ``problem.noise.sigma_y``: needs a SpectralOperator and Gaussian noise. False is the noiseless form
            for any operator with a pinv.
        weight: ``pigdm_alphas`` (published with RED-diff), ``pigdm_alpha_t`` (the PiGDM paper), ``pigdm_decayed``,
            ``pigdm_posterior`` or a function ((alpha_t, alpha_s), (sigma_t, sigma_s), c2) -> factor.
        replace_observed: Replace what was observed of x_hat by A+ y, and drop the guidance there: for noiseless
            inpainting.
        recompute_eps: Let eps_hat follow from the replaced x_hat, as published with ``pigdm_decayed``.
        contrast: Weight of the standard deviation of x_hat's entries as a further guide; published: 1500 for HDR.
        init: Initial image, noised as in ``ddim``; the pseudo-inverse as published. For super-resolution the paper
            starts at t = 500: ``spacing=schedules.between(500)``.
        spacing: How the grid of timesteps is chosen, see ``Schedule.timesteps``.

    Raises:
        ValueError: For values that make no sense.

    Source:
        Song et al. 2023, "Pseudoinverse-guided diffusion models for inverse problems" (ICLR), algorithm 1; the
        noiseless form and its options: the comparison in Mardani et al. 2023 (arXiv 2305.04391). Departure: there
        ``replace_observed`` is for masks; here it is the projection A+ A, the same for them.
    """
    check_prior("pigdm", prior)
    check_sampler(eta, scale=scale, contrast=contrast)
    check_callable("weight", weight, "a function (alphas, sigmas, c2) -> factor, such as rd.solvers.pigdm_alphas")
    timesteps = prior.schedule.timesteps(num_steps, spacing=spacing)
    return PiGDM(
        prior,
        timesteps,
        init,
        scale=scalar(scale),
        eta=scalar(eta),
        contrast=scalar_unless_zero(contrast),
        noisy=noisy,
        weight=weight,
        replace_observed=replace_observed,
        recompute_eps=recompute_eps,
    )
