"""RED-diff: variational inference with a diffusion prior, by stochastic optimisation of one image.

With q(x_0 | y) = N(mu, s^2 I) and s -> 0 the variational objective is the data misfit plus score matching over all
noise levels, whose gradient needs no derivative of the network (Mardani et al. 2023, arXiv 2305.04391, propositions 1
and 2):

    g(mu) = J_A^T (A(mu) - y) + lam * w(sigma_t / alpha_t) * (eps_hat(alpha_t mu + sigma_t eps; t) - eps)

with one timestep t and one noise draw eps at a time, given to an optimizer. The result is a mode, not a sample of the
posterior: s = 0 has no spread, and runs with other keys differ little.

``RedDiff`` is made of parts, see ``solvers/_variational.py``: ``reddiff`` and ``reddiff_published`` put together the
paper's form and the published code's, ``sds`` the same without a measurement, ``noise_aware`` the form that knows the
measurement noise.
"""

from collections.abc import Callable
from typing import Any

import jax
import optax
from jaxtyping import Array, Float

from reddiff_jax import schedules, weightings
from reddiff_jax._checks import check_callable, check_non_negative, check_positive, check_whole
from reddiff_jax._types import Image, Timesteps
from reddiff_jax.priors import Prior, check_prior
from reddiff_jax.problems import DataTerm, Problem, least_squares
from reddiff_jax.solvers._base import scalar, scalar_unless_zero
from reddiff_jax.solvers._control_variates import CONTROL_VARIATE, ControlVariate, variate_published
from reddiff_jax.solvers._draws import keys_of_all
from reddiff_jax.solvers._initial_images import Init, init_noise, init_pinv
from reddiff_jax.solvers._levels import GridLevels, descending
from reddiff_jax.solvers._reductions import BatchMean, Reduction, pixel_units
from reddiff_jax.solvers._steps import LangevinStep, ProximalStep, Step, as_step, gradient, optax_step
from reddiff_jax.solvers._variational import RedDiff, RedDiffInfo, info_of, prior_term, scaled
from reddiff_jax.solvers._weights import SnrWeight, snr_weight
from reddiff_jax.weightings import WEIGHTING, Weighting


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
    terms = scaled(term, mu, problem, reduction, obs_weight)
    return gradient(terms, problem, data_term), info_of(terms, t, problem)


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
        TypeError: If an argument is of another type.
        ValueError: For values that make no sense or do not fit together.

    Source:
        Mardani et al. 2023 (arXiv 2305.04391), algorithm 1. Departures: sums over pixels scaled per sample instead of a
        mean over the batch, timesteps from T - 1 to 0 inclusive, and the final mu is returned.
    """
    check_prior("reddiff", prior)
    step = as_step(step)
    check_callable("weighting", weighting, WEIGHTING)
    check_callable("control_variate", control_variate, CONTROL_VARIATE)
    check_callable("order", order, "a function (key, step, timesteps) -> timesteps, such as rd.solvers.descending")
    check_callable("reduction", reduction, "a function (n, m) -> (a, b), such as rd.solvers.BatchMean(8)")
    for name, value in (("lam", lam), ("obs_weight", obs_weight), ("sigma_x0", sigma_x0)):
        check_non_negative(name, value)
    if isinstance(step, LangevinStep):
        raise ValueError(
            "step is langevin_step, which needs the noise-aware weight: use rd.noise_aware(prior, sample=True)."
        )
    if isinstance(step, ProximalStep):
        check_positive("obs_weight", obs_weight)
    check_whole("timesteps_per_update", timesteps_per_update)
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
        control_variate=control_variate,
        reduction=reduction,
        initial_image=init,
        keys=keys_of_all,
        sigma_x0=scalar_unless_zero(sigma_x0),
    )


def reddiff_published(
    prior: Prior, optimizer: optax.GradientTransformation | None = None, *, batch_size: int = 1, **options: Any
) -> RedDiff:
    """RED-diff as the published code computes it, trajectory by trajectory.

    It differs from ``reddiff`` in the grid of timesteps (whose length is the number of updates, e.g. 334 for 300),
    in means over the batch with Adam's epsilon at that scale, and in the returned image, which is one step stale.

    Args:
        prior: Diffusion prior.
        optimizer: Any Optax transformation; the paper's Adam if None.
        batch_size: The batch size whose mean is reproduced.
        **options: ``lam``, ``num_steps``, ``obs_weight``, ``weighting``, ``control_variate``, ``sigma_x0``, ``init``
            and ``order`` of ``reddiff``.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: For values that make no sense.

    Source:
        The code published with Mardani et al. 2023 (arXiv 2305.04391), from its description.
    """
    check_whole("batch_size", batch_size)
    solver = reddiff(
        prior, optax_step(optimizer), spacing=schedules.published, reduction=BatchMean(batch_size), **options
    )
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
        optimizer: Any Optax transformation; the paper's Adam if None.
        lam: Weight of the gradient; 1 as published. Adam's steps do not depend on it.
        init: Initial image; white noise as published.
        **options: ``num_steps``, ``weighting``, ``order``, ``spacing`` and ``timesteps_per_update`` of ``reddiff``.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: For values that make no sense or do not fit together.

    Source:
        Poole et al. 2022 (arXiv 2209.14988), eq. 3, with the image itself for the renderer; the comparison in Mardani
        et al. 2023 (arXiv 2305.04391).
    """
    return reddiff(prior, optax_step(optimizer), lam=lam, obs_weight=0.0, init=init, **options)
