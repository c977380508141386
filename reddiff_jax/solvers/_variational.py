"""The one variational solver: RED-diff of parts.

*Levels* say at which timesteps the prior is evaluated, a *weight* how much it counts there, a *control variate* what
stands in place of the 1 before eps, a *noise source* where eps comes from, and a *step* how mu moves. See ``reddiff``
for the mathematics.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax._repr import Repr
from reddiff_jax._types import Condition, Image, Key, Timesteps
from reddiff_jax.priors import Prior
from reddiff_jax.problems import Problem, check_single, num_entries
from reddiff_jax.solvers._base import Solver
from reddiff_jax.solvers._control_variates import ControlVariate, variate_published
from reddiff_jax.solvers._draws import Fresh, Keys, NoiseSource
from reddiff_jax.solvers._initial_images import Init, first_image
from reddiff_jax.solvers._levels import Levels, Scene, mean_squared_row_norm
from reddiff_jax.solvers._reductions import Reduction
from reddiff_jax.solvers._steps import Step, Terms
from reddiff_jax.solvers._weights import AtLevel, Weight


@struct.dataclass
class RedDiffInfo(Repr):
    """Scalars to watch during a run."""

    t: jax.Array  # mean timestep of the step
    residual: jax.Array  # root mean square of A(mu) - y, before the step
    pull: jax.Array  # root mean square of r (eps_hat - c eps), in pixel units
    kappa: jax.Array  # weight of the pull, relative to A^T A


@struct.dataclass
class RedDiffState(Repr):
    """All that the next step needs."""

    mu: jax.Array  # (H, W, C)
    opt_state: Any  # None where the step has no optimizer
    step: jax.Array  # int32, number of steps done
    scale: jax.Array | None = None  # a = tr(A A^T) / m, where levels or weight follow the noise
    perturbed: jax.Array | None = None  # (H, W, C), the copy of mu that the published code returns
    eps_last: jax.Array | None = None  # (H, W, C), the noise that a source carries


def prior_term(
    eps: Float[Array, "*K H W C"],
    prior: Prior,
    mu: Image,
    t: Timesteps | int,
    weight: AtLevel,
    control_variate: ControlVariate = variate_published,
    cond: Condition = None,
) -> tuple[Image, Float[Array, ""], Image]:
    """RED-diff's prior term at ``mu``, for given noise.

    Args:
        eps: Standard normal noise (H, W, C); or (K, H, W, C) for K timesteps, whose terms are averaged.
        prior: Diffusion prior.
        mu: Where the term is taken, (H, W, C).
        t: Timestep, or K of them.
        weight: Function (alpha_t, sigma_t) -> (w, kappa).
        control_variate: Function (eps_hat, eps) -> c.
        cond: Condition of the prior.

    Returns:
        The pull ``r (eps_hat - c eps)`` in pixel units, kappa, and the gradient ``w (eps_hat - c eps)``, their product.
    """

    def term(eps: Image, t: jax.Array) -> tuple[Image, jax.Array, Image]:
        alpha_t, sigma_t = prior.schedule(t)
        # Before the network, so that a caller's own derivative stores none of its activations.
        x_t = jax.lax.stop_gradient(alpha_t * mu + sigma_t * eps)
        eps_hat = prior.eps(x_t, t, cond)
        difference = eps_hat - control_variate(eps_hat, eps) * eps
        w, kappa = weight(alpha_t, sigma_t)
        return sigma_t / alpha_t * difference, kappa, w * difference

    t = jnp.asarray(t)
    if t.shape == (1,):
        # A second vmap inside the batch's costs the network a copy of its activations.
        eps, t = eps[0], t[0]
    if t.ndim == 0:
        return term(eps, t)
    pulls, kappas, gradients = jax.vmap(term)(eps, t)
    kappa, grad = kappas.mean(0), gradients.mean(0)
    return jnp.where(kappa > 0, grad / jnp.where(kappa > 0, kappa, 1.0), pulls.mean(0)), kappa, grad


def scaled(
    term: tuple[Image, jax.Array, Image],
    x_0: Image,
    problem: Problem,
    reduction: Reduction,
    obs_weight: jax.Array | float,
) -> Terms:
    """The prior term beside the data term, each times its scale."""
    pull, kappa, prior_gradient = term
    data_scale, prior_scale = reduction(x_0.size, num_entries(problem.y))
    relative = prior_scale * kappa / (data_scale * obs_weight)
    return Terms(x_0, pull, relative, prior_gradient, data_scale * obs_weight, prior_scale)


def info_of(terms: Terms, t: Timesteps | int, problem: Problem) -> RedDiffInfo:
    """The scalars to watch."""
    return RedDiffInfo(
        t=jnp.mean(jnp.asarray(t, jnp.float32)),
        residual=problem.rms_residual(terms.x_0),
        pull=jnp.sqrt(jnp.mean(terms.pull**2)),
        kappa=jnp.asarray(terms.kappa),
    )


@struct.dataclass
class RedDiff(Solver[RedDiffState]):
    """RED-diff of parts; ``reddiff``, ``reddiff_published``, ``sds`` and ``noise_aware`` build it."""

    prior: Prior
    levels: Levels
    weight: Weight
    step_rule: Step
    lam: jax.Array  # scalar, weight of the prior term
    obs_weight: jax.Array  # scalar, weight of the data term
    control_variate: ControlVariate = struct.field(pytree_node=False)
    reduction: Reduction = struct.field(pytree_node=False)
    initial_image: Init = struct.field(pytree_node=False)
    keys: Callable[[Key], Keys] = struct.field(pytree_node=False)
    noise: NoiseSource = Fresh()
    sigma_x0: jax.Array | None = None  # scalar; None draws nothing
    returns_perturbed: bool = struct.field(pytree_node=False, default=False)

    @property
    def num_steps(self) -> int:
        """Number of steps of a whole run."""
        return self.levels.num_steps

    def init(self, key: Key, problem: Problem) -> RedDiffState:
        """Returns the state before the first step."""
        check_single(problem)
        step, keys, schedule = self.step_rule, self.keys(key), self.prior.schedule
        mu = first_image(self.initial_image, keys.initial, problem, *schedule(self.levels.first(schedule)))
        scale = None
        if self.levels.follow_noise or self.weight.follow_noise:
            scale = mean_squared_row_norm(keys.probe, problem.operator, mu).astype(mu.dtype)
            # What needs the noise says so before the first step.
            self._weight(step, mu, Scene(problem, schedule, scale))
        perturbed = mu if self.returns_perturbed else None
        eps_last = None
        if self.noise.carries:
            eps_last = jax.random.normal(jax.random.fold_in(keys.eps, 1), mu.shape, mu.dtype)
        return RedDiffState(mu, step.init(mu), jnp.zeros((), jnp.int32), scale, perturbed, eps_last)

    def step(self, key: Key, state: RedDiffState, problem: Problem) -> tuple[RedDiffState, RedDiffInfo]:
        """Draws a timestep and noise, and updates mu."""
        keys, shape, dtype = self.keys(key), state.mu.shape, state.mu.dtype
        t = self.levels(keys.t, state.step, Scene(problem, self.prior.schedule, state.scale))  # (K,)
        eps = self.noise(keys.eps, (*t.shape, *shape), dtype, state.eps_last)
        eps_x0 = None if self.sigma_x0 is None else jax.random.normal(keys.x_0, shape, dtype)
        return self.update(eps, t, state, problem, eps_x0)

    def update(
        self,
        eps: Float[Array, "K H W C"],
        t: Timesteps,
        state: RedDiffState,
        problem: Problem,
        eps_x0: Image | None = None,
    ) -> tuple[RedDiffState, RedDiffInfo]:
        """The step with its noise given: a trajectory can be replayed against another implementation.

        Args:
            eps: Noise of the prior term.
            t: Timesteps (K,).
            state: State before the step.
            problem: What belongs to the image.
            eps_x0: Noise of the perturbation sigma_x0 of mu; needed where ``sigma_x0`` is set.

        Raises:
            ValueError: If ``eps_x0`` is missing.
        """
        if self.sigma_x0 is None:
            x_0 = state.mu
        elif eps_x0 is None:
            raise ValueError("the solver has a sigma_x0, so update needs the noise eps_x0 of that perturbation.")
        else:
            x_0 = state.mu + self.sigma_x0 * eps_x0
        step = self.step_rule
        weight = self._weight(step, state.mu, Scene(problem, self.prior.schedule, state.scale))
        term = prior_term(eps, self.prior, x_0, t, weight, step.variate(self.control_variate), problem.cond)
        terms = scaled(term, x_0, problem, self.reduction, self.obs_weight)
        mu, opt_state = step(terms, state.mu, state.opt_state, problem)
        perturbed = x_0 if self.returns_perturbed else None
        eps_last = None
        if self.noise.carries:
            alpha_t, sigma_t = self.prior.schedule(t[0])
            # The control variate is 1, so that this is eps_hat.
            eps_last = (eps[0] + alpha_t / sigma_t * terms.pull).astype(eps.dtype)
        new = RedDiffState(mu.astype(state.mu.dtype), opt_state, state.step + 1, state.scale, perturbed, eps_last)
        return new, info_of(terms, t, problem)

    def estimate(self, state: RedDiffState) -> Image:
        """Returns mu, or the average that a schedule-free optimizer keeps of it.

        In the published form it is the perturbed copy of the mu before the last update.
        """
        return self.step_rule.estimate(state.mu, state.opt_state) if state.perturbed is None else state.perturbed

    def _weight(self, step: Step, mu: Image, scene: Scene) -> AtLevel:
        data_scale, prior_scale = self.reduction(mu.size, num_entries(scene.problem.y))
        return self.weight.of(scene, step.heat * self.lam, step.gamma, data_scale / prior_scale)
