"""RED-diff: variational inference with a diffusion prior, by stochastic optimisation of one image.

With q(x_0 | y) = N(mu, s^2 I) and s -> 0 the variational objective is the data misfit plus score matching over all
noise levels, whose gradient needs no derivative of the network (Mardani et al. 2023, arXiv 2305.04391, propositions 1
and 2):

    g(mu) = J_A^T (A(mu) - y) + lam * w(sigma_t / alpha_t) * (eps_hat(alpha_t mu + sigma_t eps; t) - eps)

one timestep t and one noise draw eps at a time, given to an optimizer. What comes out is a mode, not a sample of the
posterior: s = 0 has no spread, and runs with other keys differ little.

The published weights w do not know the measurement noise, and eps is a poor guess of what eps_hat has of it. Remedies
are options here, each on its own: ``weighting="noise_aware"``, ``control_variate=rd.variate_projected`` and
``spacing=rd.schedules.log_even(prior.schedule)``, best with a learning rate that decays. ``noise_aware`` has all of
them, a step without an optimizer, and samples.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float, Int

from reddiff_jax import schedules, weightings
from reddiff_jax._checks import check_non_negative
from reddiff_jax._types import Image, Key
from reddiff_jax.priors import Prior
from reddiff_jax.problem import DataTerm, Problem, least_squares
from reddiff_jax.solvers._base import Solver, check_in_shape, known_sigma_y, num_entries, scalar
from reddiff_jax.solvers._control_variates import ControlVariate, variate_published
from reddiff_jax.solvers._row_norms import mean_squared_row_norm
from reddiff_jax.solvers._starts import Init, init_noise, init_pinv
from reddiff_jax.weightings import Weighting

# ---- reductions: (number of pixels n, number of measurement entries m) -> scales of the data and the prior term


def pixel_units(n: int, m: int) -> tuple[float, float]:
    """Reduction: n times the mean/mean objective of one sample, i.e. (n/m, 1).

    Published lam and learning rates carry over, and no gradient is so small that Adam's epsilon matters.
    """
    return n / m, 1.0


def total(n: int, m: int) -> tuple[float, float]:
    """Reduction: sums over entries and over pixels, the paper's formula as written; lam then depends on m / n."""
    return 1.0, 1.0


@dataclass(frozen=True)
class BatchMean:
    """Reduction of the published code: means over the pixels of the whole batch, i.e. (1 / (B m), 1 / (B n)).

    With Adam's epsilon of 1e-8 results then depend on ``batch_size`` (and on the image size).
    """

    batch_size: int = 1

    def __call__(self, n: int, m: int) -> tuple[float, float]:
        """Returns the scales of the data and the prior term."""
        return 1 / (self.batch_size * m), 1 / (self.batch_size * n)


# ---- orders: (key, step, timesteps (num_steps, K)) -> the (K,) timesteps of this step


def descending(key: Key, step: Int[Array, ""], timesteps: Int[Array, "N K"]) -> Int[Array, "K"]:
    """Order: from the noisiest level to the cleanest, the paper's choice (section 5.3)."""
    return timesteps[step]


def ascending(key: Key, step: Int[Array, ""], timesteps: Int[Array, "N K"]) -> Int[Array, "K"]:
    """Order: from the cleanest level to the noisiest."""
    return timesteps[timesteps.shape[0] - 1 - step]


def random(key: Key, step: Int[Array, ""], timesteps: Int[Array, "N K"]) -> Int[Array, "K"]:
    """Order: independent uniform draws from the grid, as in the derivation."""
    return jax.random.choice(key, timesteps.reshape(-1), timesteps.shape[1:])


# ---- the update


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
    opt_state: Any
    step: jax.Array  # int32, number of steps done
    perturbed: jax.Array | None = None  # (H, W, C), the copy of mu that the published code returns
    scale: jax.Array | None = None  # a = tr(A A^T) / m, for the noise-aware weighting


def reddiff_gradient(
    eps: Float[Array, "*K H W C"],
    prior: Prior,
    problem: Problem,
    mu: Image,
    t: Int[Array, "*K"] | int,
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

    def pull(eps: Image, t: jax.Array) -> tuple[Image, Image]:
        alpha_t, sigma_t = prior.schedule(t)
        # Before the network, so that a caller's own derivative stores none of its activations.
        x_t = jax.lax.stop_gradient(alpha_t * mu + sigma_t * eps)
        eps_hat = prior.eps(x_t, t, problem.cond)
        difference = eps_hat - control_variate(eps_hat, eps) * eps
        return weighting(alpha_t, sigma_t) * difference, difference

    t = jnp.asarray(t)
    if t.shape == (1,):
        # A second vmap inside the batch's costs the network a copy of its activations.
        eps, t = eps[0], t[0]
    weighted, difference = pull(eps, t) if t.ndim == 0 else jax.tree.map(lambda x: x.mean(0), jax.vmap(pull)(eps, t))
    m = num_entries(problem.y)
    data_scale, prior_scale = reduction(mu.size, m)
    grad = data_scale * obs_weight * data_term(problem, mu) + prior_scale * lam * weighted
    info = RedDiffInfo(
        t=jnp.mean(t.astype(jnp.float32)),
        residual=jnp.sqrt(2 * problem.misfit(mu) / m),
        prior_gradient=jnp.sqrt(jnp.mean(difference**2)),
    )
    return grad, info


@struct.dataclass
class RedDiff(Solver[RedDiffState]):
    """RED-diff with any Optax optimizer."""

    prior: Prior
    timesteps: jax.Array  # (num_steps, K) int32
    lam: jax.Array
    obs_weight: jax.Array
    sigma_x0: jax.Array | None  # scalar; None draws nothing
    optimizer: optax.GradientTransformation = struct.field(pytree_node=False)
    weighting: Weighting | Literal["noise_aware"] = struct.field(pytree_node=False)
    control_variate: ControlVariate = struct.field(pytree_node=False)
    reduction: Callable[[int, int], tuple[float, float]] = struct.field(pytree_node=False)
    data_term: DataTerm = struct.field(pytree_node=False)
    order: Callable[..., jax.Array] = struct.field(pytree_node=False)
    start: Init = struct.field(pytree_node=False)
    return_perturbed: bool = struct.field(pytree_node=False)

    @property
    def num_steps(self) -> int:
        """Number of steps of a whole run."""
        return self.timesteps.shape[-2]

    def init(self, key: Key, problem: Problem) -> RedDiffState:
        """Returns the state before the first step."""
        check_in_shape("reddiff", problem)
        mu = self.start(key, problem, *self.prior.schedule(self.timesteps[0, 0])).astype(float)
        if mu.shape != problem.operator.in_shape:
            raise ValueError(f"init returned shape {mu.shape} but the image has {problem.operator.in_shape}.")
        scale = None
        if self.weighting == "noise_aware":
            scale = mean_squared_row_norm(jax.random.fold_in(key, 1), problem.operator, mu).astype(mu.dtype)
        return RedDiffState(
            mu, self.optimizer.init(mu), jnp.zeros((), jnp.int32), mu if self.return_perturbed else None, scale
        )

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
        t: Int[Array, "K"],
        state: RedDiffState,
        problem: Problem,
        eps_x0: Image | None = None,
    ) -> tuple[RedDiffState, RedDiffInfo]:
        """The step with its noise given: a trajectory can be replayed against another implementation.

        Args:
            eps: Noise of the prior term.
            t: Timesteps.
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
        unscaled = weightings.noise_aware(sigma_y, state.scale)
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
    sigma_x0: jax.Array | float = 0.0,
    init: Init = init_pinv,
    order: Callable[..., jax.Array] = descending,
    spacing: schedules.Spacing = schedules.linspace,
    timesteps_per_update: int = 1,
    reduction: Callable[[int, int], tuple[float, float]] = pixel_units,
    data_term: DataTerm = least_squares,
    compat: Literal["nvlabs"] | None = None,
    batch_size: int = 1,
) -> RedDiff:
    """RED-diff.

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
        sigma_x0: Standard deviation of q, as a perturbation of mu before each step.
        init: ``init_pinv``, ``init_smooth``, ``init_zeros``, ``init_noise``, ``init_given``, ``init_noised_pinv`` or a
            function (key, problem, alpha_T, sigma_T) -> image.
        order: ``descending``, ``ascending``, ``random`` or a function (key, step, timesteps) -> timesteps.
        spacing: How the grid of timesteps is chosen, see ``Schedule.timesteps``; ``schedules.log_even(schedule)``
            spends more steps at low noise levels.
        timesteps_per_update: K: each update averages the prior term over K neighbouring timesteps of a grid of
            K * num_steps.
        reduction: ``pixel_units`` (default), ``total`` or ``BatchMean(batch_size)``.
        data_term: ``least_squares``, as published; ``likelihood`` of the problem's noise, e.g. for photon counts, at a
            scale that leaves ``lam`` its meaning; or a function (problem, mu) -> gradient.
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
    grid = prior.schedule.timesteps(num_steps * timesteps_per_update, spacing=spacing)
    if grid.size % timesteps_per_update:
        raise ValueError(f"the spacing gives {grid.size} timesteps, not a multiple of {timesteps_per_update}.")
    is_zero = isinstance(sigma_x0, int | float) and sigma_x0 == 0
    return RedDiff(
        prior=prior,
        timesteps=grid.reshape(-1, timesteps_per_update),
        lam=scalar(lam),
        obs_weight=scalar(obs_weight),
        sigma_x0=None if is_zero else scalar(sigma_x0),
        optimizer=_ADAM if optimizer is None else optimizer,
        weighting=weighting,
        control_variate=control_variate,
        reduction=reduction,
        data_term=data_term,
        order=order,
        start=init,
        return_perturbed=compat is not None,
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
