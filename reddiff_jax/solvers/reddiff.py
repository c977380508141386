"""RED-diff: variational inference with a diffusion prior, by stochastic optimisation of one image.

With q(x_0 | y) = N(mu, s^2 I) and s -> 0 the variational objective is the data misfit plus score matching over all
noise levels, whose gradient needs no derivative of the network (Mardani et al. 2023, arXiv 2305.04391, propositions 1
and 2):

    g(mu) = J_A^T (A(mu) - y) + lam * w(sigma_t / alpha_t) * (eps_hat(alpha_t mu + sigma_t eps; t) - eps)

with one timestep t and one noise draw eps at a time, given to an optimizer. The result is a mode, not a sample of the
posterior: s = 0 has no spread, and runs with other keys differ little.

``RedDiff`` is made of parts: the *levels* at which the prior is evaluated, its *weight* at a level, the *control
variate* c in place of the 1 before eps, where the noise comes from, and the *step* that moves mu. ``reddiff`` and
``reddiff_published`` put together the paper's form and the published code's, ``sds`` the same without a measurement,
``noise_aware`` the form that knows the measurement noise.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax import schedules, weightings
from reddiff_jax._checks import check_non_negative, check_positive
from reddiff_jax._types import Condition, Image, Key, Timesteps
from reddiff_jax.priors import Prior
from reddiff_jax.problem import DataTerm, Problem, least_squares
from reddiff_jax.solvers._base import Solver, check_count, check_in_shape, num_entries, scalar
from reddiff_jax.solvers._control_variates import ControlVariate, variate_published
from reddiff_jax.solvers._draws import Keys, NoiseSource, fresh, keys_of_all
from reddiff_jax.solvers._levels import GridLevels, Levels, Scene
from reddiff_jax.solvers._orders import descending
from reddiff_jax.solvers._reductions import BatchMean, Reduction, pixel_units
from reddiff_jax.solvers._row_norms import mean_squared_row_norm
from reddiff_jax.solvers._starts import Init, first_image, init_noise, init_pinv
from reddiff_jax.solvers._steps import LangevinStep, ProximalStep, Step, Terms, as_step, gradient
from reddiff_jax.solvers._weights import AtLevel, SnrWeight, Weight, snr_weight
from reddiff_jax.weightings import Weighting


@struct.dataclass
class RedDiffInfo:
    """Scalars to watch during a run."""

    t: jax.Array  # mean timestep of the step
    residual: jax.Array  # root mean square of A(mu) - y, before the step
    pull: jax.Array  # root mean square of r (eps_hat - c eps), in pixel units
    kappa: jax.Array  # weight of the pull, relative to A^T A


@struct.dataclass
class RedDiffState:
    """All that the next step needs."""

    mu: jax.Array  # (H, W, C)
    opt_state: Any  # None where the step has no optimizer
    step: jax.Array  # int32, number of steps done
    scale: jax.Array | None = None  # a = tr(A A^T) / m, where levels or weight follow the noise
    perturbed: jax.Array | None = None  # (H, W, C), the copy of mu that the published code returns


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


def reddiff_gradient(
    eps: Float[Array, "*K H W C"],
    prior: Prior,
    problem: Problem,
    mu: Image,
    t: Timesteps | int,
    *,
    lam: jax.Array | float = 0.25,
    obs_weight: jax.Array | float = 1.0,
    weighting: Weighting = weightings.linear,
    control_variate: ControlVariate = variate_published,
    reduction: Reduction = pixel_units,
    data_term: DataTerm = least_squares,
) -> tuple[Image, RedDiffInfo]:
    """RED-diff's stochastic gradient at ``mu``, for given noise.

    ``g = a * obs_weight * J_A^T (A(mu) - y) + b * lam * w(alpha_t, sigma_t) * (eps_hat(x_t; t) - c eps)`` with
    ``x_t = alpha_t mu + sigma_t eps`` and c = 1, as published. By default (a, b) = (n/m, 1), i.e. n times the mean/mean
    objective per sample, with n pixels and m measurement entries; no batch mean enters. No gradient goes through the
    network.

    Args:
        eps: Standard normal noise (H, W, C); or (K, H, W, C) for K timesteps, whose prior terms are averaged.
        prior: Diffusion prior.
        problem: Measurement, operator and condition.
        mu: Where the gradient is taken, (H, W, C).
        t: Timestep, or K of them.
        lam: Weight of the prior term.
        obs_weight: Weight of the data term.
        weighting: Function of (alpha_t, sigma_t).
        control_variate: Function (eps_hat, eps) -> c.
        reduction: Function (n, m) -> (a, b): ``pixel_units``, ``total`` or ``BatchMean(batch_size)``.
        data_term: Function (problem, mu) -> gradient in place of ``J_A^T (A(mu) - y)``: ``least_squares``, or
            ``likelihood`` for noise that is not Gaussian.

    Returns:
        The gradient (H, W, C) and scalars to watch.

    Source:
        Mardani et al. 2023 (arXiv 2305.04391), algorithm 1.
    """
    term = prior_term(eps, prior, mu, t, snr_weight(lam, weighting), control_variate, problem.cond)
    terms = _scaled(term, mu, problem, reduction, obs_weight)
    return gradient(terms, problem, data_term), _info(terms, t, problem)


def _scaled(
    term: tuple[Image, jax.Array, Image],
    x_0: Image,
    problem: Problem,
    reduction: Reduction,
    obs_weight: jax.Array | float,
) -> Terms:
    pull, kappa, prior_gradient = term
    data_scale, prior_scale = reduction(x_0.size, num_entries(problem.y))
    relative = prior_scale * kappa / (data_scale * obs_weight)
    return Terms(x_0, pull, relative, prior_gradient, data_scale * obs_weight, prior_scale)


def _info(terms: Terms, t: Timesteps | int, problem: Problem) -> RedDiffInfo:
    return RedDiffInfo(
        t=jnp.mean(jnp.asarray(t, jnp.float32)),
        residual=problem.rms_residual(terms.x_0),
        pull=jnp.sqrt(jnp.mean(terms.pull**2)),
        kappa=jnp.asarray(terms.kappa),
    )


@struct.dataclass
class RedDiff(Solver[RedDiffState]):
    """RED-diff, made of parts; ``reddiff``, ``reddiff_published``, ``sds`` and ``noise_aware`` build it."""

    prior: Prior
    levels: Levels
    weight: Weight
    step_rule: Step
    lam: jax.Array
    obs_weight: jax.Array
    sigma_x0: jax.Array | None  # scalar; None draws nothing
    control_variate: ControlVariate = struct.field(pytree_node=False)
    reduction: Reduction = struct.field(pytree_node=False)
    start: Init = struct.field(pytree_node=False)
    keys: Callable[[Key], Keys] = struct.field(pytree_node=False)
    noise: NoiseSource = struct.field(pytree_node=False)
    returns_perturbed: bool = struct.field(pytree_node=False)

    @property
    def num_steps(self) -> int:
        """Number of steps of a whole run."""
        return self.levels.num_steps

    def init(self, key: Key, problem: Problem) -> RedDiffState:
        """Returns the state before the first step."""
        check_in_shape("reddiff", problem)
        step, keys, schedule = self.step_rule.on(problem), self.keys(key), self.prior.schedule
        mu = first_image(self.start, keys.start, problem, *schedule(self.levels.first(schedule)))
        scale = None
        if self.levels.follow_noise or self.weight.follow_noise:
            scale = mean_squared_row_norm(keys.probe, problem.operator, mu).astype(mu.dtype)
            # A weight that needs Gaussian noise fails here, before the first step.
            self._weight(step, mu, Scene(problem, schedule, scale))
        perturbed = mu if self.returns_perturbed else None
        return RedDiffState(mu, step.init(mu), jnp.zeros((), jnp.int32), scale, perturbed)

    def step(self, key: Key, state: RedDiffState, problem: Problem) -> tuple[RedDiffState, RedDiffInfo]:
        """Draws a timestep and noise, and updates mu."""
        keys, shape, dtype = self.keys(key), state.mu.shape, state.mu.dtype
        t = self.levels(keys.t, state.step, Scene(problem, self.prior.schedule, state.scale))  # (K,)
        eps = self.noise(keys.eps, (*t.shape, *shape), dtype)
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
        """Does the step with given noise, so that a trajectory can be replayed against another implementation.

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
        step = self.step_rule.on(problem)
        weight = self._weight(step, state.mu, Scene(problem, self.prior.schedule, state.scale))
        term = prior_term(eps, self.prior, x_0, t, weight, step.variate(self.control_variate), problem.cond)
        terms = _scaled(term, x_0, problem, self.reduction, self.obs_weight)
        mu, opt_state = step(terms, state.mu, state.opt_state, problem)
        perturbed = x_0 if self.returns_perturbed else None
        new = RedDiffState(mu.astype(state.mu.dtype), opt_state, state.step + 1, state.scale, perturbed)
        return new, _info(terms, t, problem)

    def estimate(self, state: RedDiffState) -> Image:
        """Returns mu, or the average that a schedule-free optimizer keeps of it.

        In the published form it is the perturbed copy of the mu before the last update.
        """
        return self.step_rule.estimate(state.mu, state.opt_state) if state.perturbed is None else state.perturbed

    def _weight(self, step: Step, mu: Image, scene: Scene) -> AtLevel:
        data_scale, prior_scale = self.reduction(mu.size, num_entries(scene.problem.y))
        return self.weight.of(scene, step.heat * self.lam, step.gamma, data_scale / prior_scale)


def reddiff(
    prior: Prior,
    step: Step | optax.GradientTransformation | None = None,
    *,
    lam: jax.Array | float = 0.25,
    num_steps: int = 1000,
    obs_weight: jax.Array | float = 1.0,
    weighting: Weighting = weightings.linear,
    control_variate: ControlVariate = variate_published,
    sigma_x0: jax.Array | float = 0.0,
    init: Init = init_pinv,
    order: Callable[..., jax.Array] = descending,
    spacing: schedules.Spacing = schedules.linspace,
    timesteps_per_update: int = 1,
    reduction: Reduction = pixel_units,
) -> RedDiff:
    """RED-diff with a weight by the signal-to-noise ratio, the paper's form.

    A run is a point estimate. The mean of K runs is ``rd.averaged(rd.reddiff(...), K)``; draws from the posterior are
    ``rd.noise_aware(prior, sample=True)``.

    Build the solver once and use it for all problems: another optimizer object is another compilation, while ``lam``,
    ``obs_weight`` and ``sigma_x0`` are traced (``solver.replace(lam=0.5)`` does not recompile).

    Args:
        prior: Diffusion prior.
        step: How mu moves: any Optax transformation, ``optax_step`` for another data term, or ``proximal_step`` for
            linear operators; the paper's ``optax.adam(0.1, b1=0.9, b2=0.99)`` if None.
        lam: Weight of the prior term; 0.25 is the paper's for inpainting. Raise it with the measurement noise, as the
            published objective does not know sigma_y and fits the noise at the end.
        num_steps: Number of updates, one network evaluation each (1000 in the paper).
        obs_weight: Weight of the data term.
        weighting: Function of (alpha_t, sigma_t), such as the paper's seven in ``rd.weightings``.
        control_variate: ``variate_published``, ``variate_projected``, which leaves much less noise in the gradient,
            ``variate_none`` or a function (eps_hat, eps) -> c.
        sigma_x0: Standard deviation of q, as a perturbation of mu before each step.
        init: Initial image: ``init_pinv``, ``init_smooth``, ``init_zeros``, ``init_noise``, ``init_given``,
            ``init_noised_pinv`` or a function (key, problem, alpha_T, sigma_T) -> image.
        order: ``descending``, ``ascending``, ``random`` or a function (key, step, timesteps) -> timesteps.
        spacing: How the grid of timesteps is chosen, see ``Schedule.timesteps``; ``schedules.log_even(schedule)``
            spends more steps at low noise levels, and may have timesteps between integers.
        timesteps_per_update: K: each update averages the prior term over K neighbouring timesteps of a grid of
            K * num_steps.
        reduction: ``pixel_units`` (default), ``total`` or ``BatchMean(batch_size)``.

    Raises:
        ValueError: For values that make no sense or do not fit together.

    Source:
        Mardani et al. 2023 (arXiv 2305.04391), algorithm 1. Departures: sums over pixels scaled per sample instead of a
        mean over the batch, timesteps from T - 1 to 0 inclusive, and the final mu is returned.
    """
    step = as_step(step)
    for name, value in (("lam", lam), ("obs_weight", obs_weight), ("sigma_x0", sigma_x0)):
        check_non_negative(name, value)
    if isinstance(step, LangevinStep):
        raise ValueError("step is langevin_step, which needs the noise-aware weight: use rd.noise_aware(sample=True).")
    if isinstance(step, ProximalStep):
        check_positive("obs_weight", obs_weight)
    check_count("timesteps_per_update", timesteps_per_update)
    grid = prior.schedule.timesteps(num_steps * timesteps_per_update, spacing=spacing, fractional=True)
    if grid.size % timesteps_per_update:
        raise ValueError(
            f"the spacing gives {grid.size} timesteps, not a multiple of timesteps_per_update={timesteps_per_update}."
        )
    return RedDiff(
        prior=prior,
        levels=GridLevels(grid.reshape(-1, timesteps_per_update), order),
        weight=SnrWeight(weighting),
        step_rule=step,
        lam=scalar(lam),
        obs_weight=scalar(obs_weight),
        sigma_x0=None if isinstance(sigma_x0, int | float) and sigma_x0 == 0 else scalar(sigma_x0),
        control_variate=control_variate,
        reduction=reduction,
        start=init,
        keys=keys_of_all,
        noise=fresh,
        returns_perturbed=False,
    )


def reddiff_published(
    prior: Prior, optimizer: optax.GradientTransformation | None = None, *, batch_size: int = 1, **options: Any
) -> RedDiff:
    """RED-diff as the published code computes it, trajectory by trajectory.

    It differs from ``reddiff`` in the grid of timesteps (whose length is the number of updates, e.g. 334 for 300),
    in means over the batch with Adam's epsilon at that scale, and in the returned image, which is one step stale.

    Args:
        prior: Diffusion prior.
        optimizer: As for ``reddiff``.
        batch_size: The batch size whose mean is reproduced.
        **options: ``lam``, ``num_steps``, ``obs_weight``, ``weighting``, ``control_variate``, ``sigma_x0``, ``init``
            and ``order`` of ``reddiff``.

    Raises:
        ValueError: For values that make no sense.

    Source:
        The code published with Mardani et al. 2023 (arXiv 2305.04391), from its description.
    """
    check_count("batch_size", batch_size)
    solver = reddiff(prior, optimizer, spacing=schedules.published, reduction=BatchMean(batch_size), **options)
    return solver.replace(returns_perturbed=True)  # type: ignore[attr-defined]


def sds(
    prior: Prior,
    optimizer: optax.GradientTransformation | None = None,
    *,
    lam: jax.Array | float = 1.0,
    init: Init = init_noise,
    **options: Any,
) -> RedDiff:
    """Score distillation in pixel space: RED-diff without a measurement.

    ``g = lam * w(alpha_t, sigma_t) * (eps_hat(alpha_t mu + sigma_t eps; t) - eps)``. It seeks a mode of the blurred
    prior, so that the result of ``rd.run(key, rd.sds(prior), rd.unconditional((H, W, C)))`` is smoother than a sample;
    for a Gaussian prior it is the mean. Samples come from ``ddim``. The published code's form is
    ``reddiff_published(prior, obs_weight=0.0, lam=1.0, init=init_noise)``.

    Args:
        prior: Diffusion prior.
        optimizer: As for ``reddiff``.
        lam: Weight of the gradient; 1 as published. Adam's steps do not depend on it.
        init: Initial image; white noise as published.
        **options: ``num_steps``, ``weighting``, ``order``, ``spacing`` and ``timesteps_per_update`` of ``reddiff``.

    Raises:
        ValueError: For values that make no sense or do not fit together.

    Source:
        Poole et al. 2022 (arXiv 2209.14988), eq. 3, with the image itself for the renderer; the comparison in Mardani
        et al. 2023 (arXiv 2305.04391).
    """
    return reddiff(prior, optimizer, lam=lam, obs_weight=0.0, init=init, **options)
