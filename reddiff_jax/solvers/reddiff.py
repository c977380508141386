"""RED-diff: variational inference with a diffusion prior, by stochastic optimisation of one image.

With q(x_0 | y) = N(mu, s^2 I) and s -> 0 the variational objective is the data misfit plus score matching over all
noise levels, whose gradient needs no derivative of the network (Mardani et al. 2023, arXiv 2305.04391, propositions 1
and 2):

    g(mu) = J_A^T (A(mu) - y) + lam * w(sigma_t / alpha_t) * (eps_hat(alpha_t mu + sigma_t eps; t) - eps)

one timestep t and one noise draw eps at a time, given to an optimizer. What comes out is a mode, not a sample of the
posterior: s = 0 has no spread, and runs with other keys differ little.

The published weights w do not know the measurement noise, and eps is a poor guess of what eps_hat has of it. Remedies
are options here, each on its own: ``weighting="noise_aware"``, ``control_variate=rd.variate_projected``,
``spacing=rd.schedules.log_even(prior.schedule)``, and a learning rate that decays or, for linear operators, the exact
step ``data_step="prox"``, with which ``sample=True`` draws from the posterior. ``noise_aware`` derives them, has all of
them without being asked, and ends at a level that follows each problem's noise.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax import schedules, weightings
from reddiff_jax._checks import check_non_negative, check_positive
from reddiff_jax._types import Image, Key, Timesteps
from reddiff_jax.priors import Prior
from reddiff_jax.problems import DataTerm, Problem, least_squares, num_entries
from reddiff_jax.solvers._base import Solver, check_count, check_in_shape, known_sigma_y, scalar
from reddiff_jax.solvers._control_variates import ControlVariate, variate_published, variate_twice
from reddiff_jax.solvers._orders import descending
from reddiff_jax.solvers._proximal import check_linear, proximal
from reddiff_jax.solvers._reductions import BatchMean, pixel_units
from reddiff_jax.solvers._row_norms import mean_squared_row_norm
from reddiff_jax.solvers._starts import Init, init_noise, init_pinv
from reddiff_jax.weightings import Weighting


@struct.dataclass
class RedDiffInfo:
    """What a human watches."""

    t: jax.Array  # mean timestep of the step
    residual: jax.Array  # root mean square of A(mu) - y, before the step
    prior_gradient: jax.Array  # root mean square of eps_hat - c eps


@struct.dataclass
class RedDiffState:
    """What the next step needs."""

    mu: jax.Array  # (H, W, C)
    opt_state: Any  # None where the step is proximal
    step: jax.Array  # int32, number of steps done
    perturbed: jax.Array | None = None  # (H, W, C), the copy of mu that the published code returns
    scale: jax.Array | None = None  # a = tr(A A^T) / m, for the noise-aware weighting


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
    reduction: Callable[[int, int], tuple[float, float]] = pixel_units,
    data_term: DataTerm = least_squares,
) -> tuple[Image, RedDiffInfo]:
    """RED-diff's stochastic gradient at ``mu``, its noise given.

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
    weighted, difference, _ = _prior_term(eps, prior, problem, mu, t, weighting, control_variate)
    data_scale, prior_scale = reduction(mu.size, num_entries(problem.y))
    grad = data_scale * obs_weight * data_term(problem, mu) + prior_scale * lam * weighted
    return grad, _info(problem, mu, t, difference)


def _prior_term(
    eps: Float[Array, "*K H W C"],
    prior: Prior,
    problem: Problem,
    mu: Image,
    t: Timesteps | int,
    weighting: Weighting,
    control_variate: ControlVariate,
) -> tuple[Image, Image, Float[Array, ""]]:
    """``w (eps_hat - c eps)``, the same with w = 1, and w / r, beside A^T A the curvature; means over timesteps."""

    def term(eps: Image, t: jax.Array) -> tuple[Image, Image, jax.Array]:
        alpha_t, sigma_t = prior.schedule(t)
        # Before the network, so that a caller's own derivative stores none of its activations.
        x_t = jax.lax.stop_gradient(alpha_t * mu + sigma_t * eps)
        eps_hat = prior.eps(x_t, t, problem.cond)
        difference = eps_hat - control_variate(eps_hat, eps) * eps
        weight = weighting(alpha_t, sigma_t)
        return weight * difference, difference, weight * alpha_t / sigma_t

    t = jnp.asarray(t)
    if t.shape == (1,):
        # A second vmap inside the batch's costs the network a copy of its activations.
        eps, t = eps[0], t[0]
    return term(eps, t) if t.ndim == 0 else jax.tree.map(lambda x: x.mean(0), jax.vmap(term)(eps, t))


def _info(problem: Problem, mu: Image, t: Timesteps | int, difference: Image) -> RedDiffInfo:
    return RedDiffInfo(
        t=jnp.mean(jnp.asarray(t, jnp.float32)),
        residual=problem.rms_residual(mu),
        prior_gradient=jnp.sqrt(jnp.mean(difference**2)),
    )


@struct.dataclass
class RedDiff(Solver[RedDiffState]):
    """RED-diff with any Optax optimizer, or with proximal steps; build it with ``reddiff``."""

    prior: Prior
    timesteps: jax.Array  # (num_steps, K)
    lam: jax.Array
    obs_weight: jax.Array
    sigma_x0: jax.Array | None  # scalar; None draws nothing
    optimizer: optax.GradientTransformation | None = struct.field(pytree_node=False)  # None: the proximal step
    weighting: Weighting | Literal["noise_aware"] = struct.field(pytree_node=False)
    control_variate: ControlVariate = struct.field(pytree_node=False)
    reduction: Callable[[int, int], tuple[float, float]] = struct.field(pytree_node=False)
    data_term: DataTerm = struct.field(pytree_node=False)
    order: Callable[..., jax.Array] = struct.field(pytree_node=False)
    start: Init = struct.field(pytree_node=False)
    return_perturbed: bool = struct.field(pytree_node=False)
    sample: bool = struct.field(pytree_node=False)
    num_cg: int = struct.field(pytree_node=False)

    @property
    def num_steps(self) -> int:
        """Number of steps of a whole run."""
        return self.timesteps.shape[-2]

    def init(self, key: Key, problem: Problem) -> RedDiffState:
        """Returns the state before the first step."""
        check_in_shape("reddiff", problem)
        if self.optimizer is None:
            remedy = "Use rd.daps or rd.dps." if self.sample else "Use rd.reddiff with data_step='optax'."
            check_linear("reddiff with data_step='prox'", problem, remedy)
        mu = self.start(key, problem, *self.prior.schedule(self.timesteps[0, 0])).astype(float)
        if mu.shape != problem.operator.in_shape:
            raise ValueError(f"init returned shape {mu.shape} but the image has {problem.operator.in_shape}.")
        scale = None
        if self.weighting == "noise_aware":
            scale = mean_squared_row_norm(jax.random.fold_in(key, 1), problem.operator, mu).astype(mu.dtype)
        opt_state = None if self.optimizer is None else self.optimizer.init(mu)
        return RedDiffState(mu, opt_state, jnp.zeros((), jnp.int32), mu if self.return_perturbed else None, scale)

    def step(self, key: Key, state: RedDiffState, problem: Problem) -> tuple[RedDiffState, RedDiffInfo]:
        """Draws a timestep and noise, and updates mu."""
        key_x0, key_eps, key_t = jax.random.split(key, 3)
        t = self.order(key_t, state.step, self.timesteps)  # (K,)
        eps = jax.random.normal(key_eps, (*t.shape, *state.mu.shape), state.mu.dtype)
        eps_x0 = None if self.sigma_x0 is None else jax.random.normal(key_x0, state.mu.shape, state.mu.dtype)
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
        if self.optimizer is None:
            return self._proximal_step(eps, t, state, problem)
        if self.sigma_x0 is None:
            x_0 = state.mu
        elif eps_x0 is None:
            raise ValueError("the solver has a sigma_x0, so update needs the noise eps_x0 of that perturbation.")
        else:
            x_0 = state.mu + self.sigma_x0 * eps_x0
        grad, info = reddiff_gradient(
            eps,
            self.prior,
            problem,
            x_0,
            t,
            lam=self.lam,
            obs_weight=self.obs_weight,
            weighting=self._weighting(state, problem),
            control_variate=self.control_variate,
            reduction=self.reduction,
            data_term=self.data_term,
        )
        # The scanned state keeps its type even where an operator works in another (x64, complex measurements).
        updates, opt_state = self.optimizer.update(grad.astype(state.mu.dtype), state.opt_state, state.mu)
        mu: jax.Array = optax.apply_updates(state.mu, updates)  # type: ignore[assignment]
        perturbed = x_0 if self.return_perturbed else None
        return RedDiffState(mu, opt_state, state.step + 1, perturbed, state.scale), info

    def _proximal_step(
        self, eps: Float[Array, "K H W C"], t: Timesteps, state: RedDiffState, problem: Problem
    ) -> tuple[RedDiffState, RedDiffInfo]:
        """``mu - (A^T A + kappa)^-1 g`` with kappa = lam w / r, g and lam in units of the data term; no optimizer.

        A sample takes half the prior's step, and has twice its weight in ``_weighting``.
        """
        mu, weighting = state.mu, self._weighting(state, problem)
        weighted, difference, curvature = _prior_term(eps, self.prior, problem, mu, t, weighting, self.control_variate)
        data_scale, prior_scale = self.reduction(mu.size, num_entries(problem.y))
        kappa = prior_scale * self.lam * curvature / (data_scale * self.obs_weight)
        pull = (0.5 if self.sample else 1.0) * weighted / curvature
        new_mu = proximal(problem, mu - pull, kappa, self.num_cg).astype(mu.dtype)
        return state.replace(mu=new_mu, step=state.step + 1), _info(problem, mu, t, difference)  # type: ignore[attr-defined]

    def estimate(self, state: RedDiffState) -> Image:
        """Returns mu, or the average that a schedule-free optimizer keeps of it.

        In compatibility mode it is the perturbed copy of the mu before the last update.
        """
        if state.perturbed is not None:
            return state.perturbed
        if isinstance(state.opt_state, optax.contrib.ScheduleFreeState):
            return optax.contrib.schedule_free_eval_params(state.opt_state, state.mu)  # type: ignore[return-value]
        return state.mu

    def _weighting(self, state: RedDiffState, problem: Problem) -> Weighting:
        """The noise-aware one is relative to the scale of the data term."""
        if self.weighting != "noise_aware":
            return self.weighting
        assert state.scale is not None
        data_scale, prior_scale = self.reduction(state.mu.size, num_entries(problem.y))
        sigma_y = known_sigma_y("reddiff", problem, "Only the weighting 'noise_aware' does: rd.reddiff has others.")
        gamma = weightings.default_gamma(proximal=self.optimizer is None, sample=self.sample)
        if self.sample:
            sigma_y = jnp.sqrt(2.0) * sigma_y
        unscaled = weightings.noise_aware(sigma_y, state.scale, gamma=gamma)
        return lambda alpha_t, sigma_t: data_scale / prior_scale * unscaled(alpha_t, sigma_t)


def reddiff(
    prior: Prior,
    optimizer: optax.GradientTransformation | None = None,
    *,
    lam: jax.Array | float | None = None,
    num_steps: int = 1000,
    obs_weight: jax.Array | float = 1.0,
    weighting: str | Weighting = "linear",
    control_variate: ControlVariate = variate_published,
    data_step: Literal["optax", "prox"] = "optax",
    sample: bool = False,
    sigma_x0: jax.Array | float = 0.0,
    init: Init = init_pinv,
    order: Callable[..., jax.Array] = descending,
    spacing: schedules.Spacing = schedules.linspace,
    timesteps_per_update: int = 1,
    reduction: Callable[[int, int], tuple[float, float]] = pixel_units,
    data_term: DataTerm = least_squares,
    num_cg: int = 10,
    compat: Literal["nvlabs"] | None = None,
    batch_size: int = 1,
) -> RedDiff:
    """RED-diff.

    A run is a point estimate. The mean of K runs is ``rd.averaged(rd.reddiff(...), K)``; ``sample=True`` draws from the
    posterior.

    Build the solver once and use it for all problems: another optimizer object is another compilation, while ``lam``,
    ``obs_weight`` and ``sigma_x0`` are traced (``solver.replace(lam=0.5)`` does not recompile).

    Args:
        prior: Diffusion prior.
        optimizer: Any Optax transformation, learning-rate schedules and ``optax.contrib.schedule_free`` (not inside a
            chain) included; the paper's ``optax.adam(0.1, b1=0.9, b2=0.99)`` if None.
        lam: Weight of the prior term. If None 0.25, the paper's for inpainting: raise it with the measurement noise, as
            the published objective does not know sigma_y and fits the noise at the end. Or, with the noise-aware
            weighting, which does know it, 1, the posterior's.
        num_steps: Number of updates, one network evaluation each (1000 in the paper).
        obs_weight: Weight of the data term.
        weighting: One of the paper's seven weightings by name (``linear``, ``sqrt``, ``square``, ``log``,
            ``trunc_linear``, ``power2over3``, ``const``), a function of (alpha_t, sigma_t), or ``noise_aware``, that of
            ``weightings.noise_aware`` at the problem's sigma_y and scale.
        control_variate: ``variate_published``, ``variate_projected``, which leaves much less noise in the gradient,
            ``variate_none`` or a function (eps_hat, eps) -> c.
        data_step: ``optax``: a step of the optimizer along the gradient; ``prox``: for linear operators, to where
            ``|A x - y|^2 + kappa |x - (mu - r (eps_hat - c eps))|^2`` is least, kappa = lam w / r, which is exact and
            has no rate to choose.
        sample: Draw from the posterior by the noisy half step, see ``noise_aware``; with ``weighting="noise_aware"``,
            ``data_step="prox"`` and a descending grid such as ``log_even``.
        sigma_x0: Standard deviation of q, as a perturbation of mu before each step.
        init: ``init_pinv``, ``init_smooth``, ``init_zeros``, ``init_noise``, ``init_given``, ``init_noised_pinv`` or a
            function (key, problem, alpha_T, sigma_T) -> image.
        order: ``descending``, ``ascending``, ``random`` or a function (key, step, timesteps) -> timesteps.
        spacing: How the grid of timesteps is chosen, see ``Schedule.timesteps``; ``schedules.log_even(schedule)``
            spends more steps at low noise levels, and may have timesteps between integers.
        timesteps_per_update: K: each update averages the prior term over K neighbouring timesteps of a grid of
            K * num_steps.
        reduction: ``pixel_units`` (default), ``total`` or ``BatchMean(batch_size)``.
        data_term: ``least_squares``, as published; ``likelihood`` of the problem's noise, e.g. for photon counts, at a
            scale that leaves ``lam`` its meaning; or a function (problem, mu) -> gradient.
        num_cg: Steps of conjugate gradients of a proximal step where the operator is no SpectralOperator.
        compat: "nvlabs" reproduces the trajectories of the published code: its grid of timesteps (the number of
            updates is then its number, e.g. 334 for 300), means over the batch (``batch_size``), Adam's epsilon at
            that scale, and the returned image one step stale.
        batch_size: Only with ``compat``: the batch size whose mean is reproduced.

    Raises:
        ValueError: For values that make no sense or do not fit together.

    Source:
        Mardani et al. 2023 (arXiv 2305.04391), algorithm 1. Departures, unless ``compat``: sums over pixels scaled per
        sample instead of a mean over the batch, timesteps from T - 1 to 0 inclusive, and the final mu is returned.
    """
    if lam is None:
        lam = 1.0 if weighting == "noise_aware" else 0.25
    if weighting != "noise_aware" and isinstance(weighting, str):
        weighting = weightings.by_name(weighting)
    for name, value in (("lam", lam), ("obs_weight", obs_weight), ("sigma_x0", sigma_x0)):
        check_non_negative(name, value)
    if compat not in (None, "nvlabs"):
        raise ValueError(f"compat is {compat!r} but must be None or 'nvlabs'.")
    if timesteps_per_update < 1:
        raise ValueError(f"timesteps_per_update is {timesteps_per_update} but must be at least 1.")
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size} but must be at least 1.")
    if batch_size != 1 and compat is None:
        raise ValueError("batch_size belongs to compat='nvlabs'; by default no result depends on its batch.")
    if compat is not None:
        if spacing is not schedules.linspace or reduction is not pixel_units:
            raise ValueError("compat='nvlabs' chooses the spacing and the reduction itself; leave them out.")
        spacing, reduction = schedules.published, BatchMean(batch_size)
    check_count("num_cg", num_cg)
    is_zero = isinstance(sigma_x0, int | float) and sigma_x0 == 0
    if data_step not in ("optax", "prox"):
        raise ValueError(f"data_step is {data_step!r} but must be 'optax' or 'prox'.")
    if data_step == "prox":
        if optimizer is not None or data_term is not least_squares or not is_zero or compat is not None:
            raise ValueError("data_step='prox' is exact; leave out optimizer, data_term, sigma_x0 and compat.")
        check_positive("obs_weight", obs_weight)
    if sample:
        if weighting != "noise_aware" or data_step != "prox":
            raise ValueError("sample=True needs weighting='noise_aware' and data_step='prox'.")
        if control_variate is not variate_published or order is not descending or timesteps_per_update != 1:
            raise ValueError("sample=True has its own step; leave out control_variate, order and timesteps_per_update.")
        control_variate = variate_twice
    if data_step == "optax" and optimizer is None:
        optimizer = _ADAM
    grid = prior.schedule.timesteps(num_steps * timesteps_per_update, spacing=spacing, fractional=True)
    if grid.size % timesteps_per_update:
        raise ValueError(f"the spacing gives {grid.size} timesteps, not a multiple of {timesteps_per_update}.")
    return RedDiff(
        prior=prior,
        timesteps=grid.reshape(-1, timesteps_per_update),
        lam=scalar(lam),
        obs_weight=scalar(obs_weight),
        sigma_x0=None if is_zero else scalar(sigma_x0),
        optimizer=optimizer,
        weighting=weighting,
        control_variate=control_variate,
        reduction=reduction,
        data_term=data_term,
        order=order,
        start=init,
        return_perturbed=compat is not None,
        sample=sample,
        num_cg=num_cg,
    )


def sds(
    prior: Prior,
    optimizer: optax.GradientTransformation | None = None,
    *,
    lam: jax.Array | float = 1.0,
    num_steps: int = 1000,
    weighting: str | Weighting = "linear",
    init: Init = init_noise,
    order: Callable[..., jax.Array] = descending,
    spacing: schedules.Spacing = schedules.linspace,
    timesteps_per_update: int = 1,
    compat: Literal["nvlabs"] | None = None,
    batch_size: int = 1,
) -> RedDiff:
    """Score distillation in pixel space: RED-diff without a measurement.

    ``g = lam * w(alpha_t, sigma_t) * (eps_hat(alpha_t mu + sigma_t eps; t) - eps)``. It seeks a mode of the blurred
    prior, so that what it gives for ``rd.run(key, rd.sds(prior), rd.unconditional((H, W, C)))`` is smoother than a
    sample: for a Gaussian prior its mean. Samples come from ``ddim``.

    Args:
        prior: Diffusion prior.
        optimizer: As for ``reddiff``.
        lam: Weight of the gradient; 1 as published, and to Adam all the same.
        num_steps: Number of updates.
        weighting: As for ``reddiff``.
        init: First image; white noise as published.
        order: As for ``reddiff``.
        spacing: As for ``reddiff``.
        timesteps_per_update: As for ``reddiff``.
        compat: As for ``reddiff``.
        batch_size: As for ``reddiff``.

    Raises:
        ValueError: For values that make no sense or do not fit together.

    Source:
        Poole et al. 2022 (arXiv 2209.14988), eq. 3, with the image itself for the renderer; the comparison in Mardani
        et al. 2023 (arXiv 2305.04391).
    """
    return reddiff(
        prior,
        optimizer,
        lam=lam,
        num_steps=num_steps,
        obs_weight=0.0,
        weighting=weightings.by_name(weighting) if isinstance(weighting, str) else weighting,
        init=init,
        order=order,
        spacing=spacing,
        timesteps_per_update=timesteps_per_update,
        compat=compat,
        batch_size=batch_size,
    )


# One object, so that solvers built apart share a compilation.
_ADAM = optax.adam(0.1, b1=0.9, b2=0.99)
