"""The tuned defaults, as one table, and the choice of a solver for a problem."""

from collections.abc import Mapping

import jax.numpy as jnp

from reddiff_jax._checks import check_type, numbers
from reddiff_jax.latents import Latent
from reddiff_jax.noise import Gaussian
from reddiff_jax.priors import Prior, check_prior
from reddiff_jax.problems import Problem, likelihood
from reddiff_jax.settings.base import Rows, Settings, interpolate
from reddiff_jax.settings.kinds import Kind, kind_of
from reddiff_jax.settings.latents import FOR_LATENTS, solver_for
from reddiff_jax.settings.noise_aware import NoiseAwareSettings
from reddiff_jax.settings.red import RedSettings
from reddiff_jax.settings.reddiff import ReddiffSettings
from reddiff_jax.settings.reddiff_var import ReddiffVarSettings
from reddiff_jax.settings.samplers import SAMPLERS
from reddiff_jax.settings.tweedie import TweedieSettings
from reddiff_jax.solvers import Solver

SETTINGS: dict[str, type[Settings]] = {
    each.name: each
    for each in (
        ReddiffSettings,
        ReddiffVarSettings,
        NoiseAwareSettings,
        *SAMPLERS,
        RedSettings,
        TweedieSettings,
    )
}
"""The settings of each solver, by its name."""

# docs/results/settings.md says how the rows were found; benchmarks/results/tune.json has the last search. The bundled
# prior is weak at high noise: hence low starting timesteps. Published settings are those of `reddiff_jax.reddiff`.
_REDDIFF: dict[Kind, Rows[ReddiffSettings]] = {
    Kind.DENOISE: (
        (0.05, ReddiffSettings(lam=0.15, lr_schedule="cosine", start_timestep=300, weighting="sqrt")),
        (
            0.2,
            ReddiffSettings(
                lam=1.5, learning_rate=0.2, lr_schedule="cosine", start_timestep=300, weighting="trunc_linear"
            ),
        ),
    ),
    Kind.INPAINT_PIXELS: (
        (0.0, ReddiffSettings(lam=0.05, start_timestep=300, weighting="trunc_linear")),
        (0.05, ReddiffSettings(lam=0.05, start_timestep=300, weighting="trunc_linear")),
        (0.2, ReddiffSettings(lam=0.5, learning_rate=0.05, start_timestep=300)),
    ),
    Kind.INPAINT_HOLES: (
        (0.0, ReddiffSettings(lam=0.05, start_timestep=500)),
        (0.05, ReddiffSettings(lam=0.05, start_timestep=500, weighting="sqrt")),
        (0.2, ReddiffSettings(lam=1.5, start_timestep=500)),
    ),
    Kind.SUPER_RESOLUTION: (
        (0.0, ReddiffSettings(lam=0.15, start_timestep=500, weighting="trunc_linear")),
        (0.05, ReddiffSettings(lam=0.5, start_timestep=800)),
        (0.2, ReddiffSettings(lam=1.5, learning_rate=0.05, start_timestep=800, weighting="sqrt")),
    ),
    Kind.DEBLUR: (
        (0.0, ReddiffSettings(lam=0.05, learning_rate=0.2, start_timestep=300)),
        (0.05, ReddiffSettings(lam=0.05, start_timestep=300)),
        (0.2, ReddiffSettings(lam=0.5, learning_rate=0.2, start_timestep=300)),
    ),
    Kind.COLORIZE: ((0.0, ReddiffSettings(lam=0.05, learning_rate=0.05, lr_schedule="cosine", start_timestep=500)),),
    Kind.DEBLUR_SATURATED: (
        (0.0, ReddiffSettings(lam=0.05, start_timestep=300)),
        (0.05, ReddiffSettings(lam=0.15, learning_rate=0.2, start_timestep=300)),
    ),
    Kind.DEMOSAIC: (
        (0.0, ReddiffSettings(lam=0.05, learning_rate=0.05, start_timestep=300)),
        (0.05, ReddiffSettings(lam=0.05, learning_rate=0.05, start_timestep=300)),
    ),
    Kind.HDR: ((0.0, ReddiffSettings(lam=0.15, start_timestep=500)),),
    Kind.JPEG: ((0.0, ReddiffSettings(lam=0.25, learning_rate=0.05, start_timestep=500)),),
    Kind.QUANTIZATION: ((0.0, ReddiffSettings(lam=1.5, learning_rate=0.2, start_timestep=300)),),
    Kind.COMPRESSED_SENSING: (
        (0.0, ReddiffSettings(lam=0.5, learning_rate=0.2, start_timestep=300)),
        (0.05, ReddiffSettings(lam=0.5, learning_rate=0.2, start_timestep=300)),
    ),
    Kind.MRI: (
        (0.0, ReddiffSettings(lam=0.05, start_timestep=300)),
        (0.05, ReddiffSettings(lam=0.15, learning_rate=0.05, start_timestep=300)),
    ),
    Kind.CT: (
        (0.0, ReddiffSettings(lam=0.05, start_timestep=300)),
        (0.05, ReddiffSettings(lam=0.15, start_timestep=300)),
    ),
    Kind.PHASE_RETRIEVAL: (
        (0.0, ReddiffSettings(learning_rate=0.2, num_steps=100, start_timestep=500, init="noised_pinv")),
    ),
}

# lam: where more of the picture is measured than a third. sigma_max: lower still where the first image is near.
# sigma_min: lower where all of a picture, or a mix of all, is measured; 0.1 to 0.4 dB at sigma up to 0.02.
# num_steps: what mixes all pixels takes longer to agree with the prior; 0.8 dB without noise.
_NOISE_AWARE: dict[Kind, Rows[NoiseAwareSettings]] = {
    Kind.DEBLUR: ((0.0, NoiseAwareSettings(lam=0.5)),),
    Kind.INPAINT_PIXELS: ((0.0, NoiseAwareSettings(sigma_max=0.5)),),
    Kind.INPAINT_HOLES: ((0.0, NoiseAwareSettings(lam=0.7)),),
    Kind.COMPRESSED_SENSING: ((0.0, NoiseAwareSettings(sigma_max=0.5, sigma_min=0.01, num_steps=50, num_runs=2)),),
    Kind.CT: ((0.0, NoiseAwareSettings(lam=1.0)),),
    Kind.HDR: ((0.0, NoiseAwareSettings(sigma_max=0.3)),),
    Kind.DEBLUR_SATURATED: ((0.0, NoiseAwareSettings(sigma_max=0.3)),),
    Kind.QUANTIZATION: ((0.0, NoiseAwareSettings(sigma_max=0.3)),),
    Kind.DENOISE: ((0.0, NoiseAwareSettings(lam=1.0, sigma_max=3.0, sigma_min=0.01, init="pinv")),),
}

TUNED: dict[str, Mapping[Kind, Rows]] = {"reddiff": _REDDIFF, "noise_aware": _NOISE_AWARE}
"""Rows (sigma_y, settings) of each kind, for each solver that has been tuned; the others have their defaults.

Sigmas ascend. Between two rows numbers are interpolated and the rest is the nearer row's; beyond the ends the end row
holds.
"""

PUBLISHED_IS_BETTER = frozenset({Kind.PHASE_RETRIEVAL})
"""Kinds whose default is RED-diff (benchmarks/defaults.py).

Noise-aware RED-diff is the default of all else.
"""

_HIDDEN = 0.05  # noise level for which rows are taken where the problem's cannot be seen


def by_name(solver: str) -> type[Settings]:
    """Looks up the settings of a solver.

    Raises:
        ValueError: For an unknown name.
    """
    if solver not in SETTINGS:
        raise ValueError(f"unknown solver {solver!r}; choose one of {', '.join(SETTINGS)}.")
    return SETTINGS[solver]


def default_name(problem: Problem) -> str:
    """Name of the solver that restores such measurements best."""
    gaussian = isinstance(problem.noise, Gaussian)
    if gaussian and problem.operator.is_denoising:
        return "tweedie"
    return "noise_aware" if gaussian and kind_of(problem.operator) not in PUBLISHED_IS_BETTER else "reddiff"


def default_settings(problem: Problem, solver: str | None = None) -> Settings:
    """Settings of a solver for what a problem's operator measures, at its noise level.

    Args:
        problem: Operator, noise and measurement; shapes are enough.
        solver: Name of the solver; the one that restores such measurements best if None.

    Raises:
        ValueError: For an unknown solver.
    """
    name = solver or default_name(problem)
    settings, kind = by_name(name), kind_of(problem.operator)
    rows = TUNED.get(name, {}).get(kind) if kind is not None else None
    return (interpolate(rows, noise_level(problem)) if rows else settings()).fitted(problem.operator)


def noise_level(problem: Problem) -> float:
    """The standard deviation of a problem's noise, by which rows are chosen; 0.05 where ``jit`` hides it.

    Under ``vmap`` it is the mean of the batch's. Of noise that is not Gaussian it is the root of ``noise.variance(y)``.
    """
    noise = problem.noise
    if isinstance(noise, Gaussian):
        sigmas = numbers(noise.sigma_y)
    elif numbers(problem.y) is None:
        sigmas = None
    else:
        sigmas = numbers(jnp.sqrt(noise.variance(problem.y)))
    # To float32's seven digits a level is what the user wrote: 0.05, not 0.0500000007.
    return _HIDDEN if sigmas is None else float(f"{sigmas.mean(dtype=float):.7g}")


def default_solver(prior: Prior | Latent, problem: Problem, *, sample: bool = False) -> Solver:
    """The solver that restores such measurements best, with tuned settings: what ``reddiff-jax restore`` uses.

    It looks at the operator's type, for masks at whether pixels or holes are missing, and at the noise:

    - Nothing but Gaussian noise: the posterior mean by Tweedie's formula, which takes one evaluation a view.
    - Gaussian noise: noise-aware RED-diff, the mean of short runs; for phase retrieval RED-diff with settings for it.
    - Other noise: RED-diff with ``data_term=rd.likelihood`` and its settings for that operator, at the noise level
      ``sqrt(noise.variance(y))``.
    - A latent prior: noise-aware RED-diff, for denoising, too, which solves for the measurement in pixels.
    - An operator of your own: the same solvers with their own defaults, from the gray image if it has no ``pinv``; with
      Gauss-Newton steps if it is not linear.

    Args:
        prior: Diffusion prior, or a ``Latent``.
        problem: The problem, or a batch of them under ``jax.vmap``, which has one solver: masks count together, and so
            does the mean of the noise levels. Where ``jit`` hides numbers, masks are taken for holes and the noise
            level for 0.05; build the solver outside where that is not so.
        sample: Draw from the posterior, one sample a run, instead of a point of high PSNR.

    Raises:
        TypeError: If ``sample`` and the noise is not Gaussian.
    """
    if not isinstance(prior, Latent):
        check_prior("default_solver", prior)
    check_type("default_solver: problem", problem, Problem, "a Problem; the order is default_solver(prior, problem)")
    gaussian = isinstance(problem.noise, Gaussian)
    settings = default_settings(problem, FOR_LATENTS if isinstance(prior, Latent) and gaussian else None)
    if sample:
        if not gaussian:
            raise TypeError(
                f"default_solver with sample=True needs Gaussian noise; the problem has "
                f"{type(problem.noise).__name__}. Use rd.daps or rd.dps."
            )
        settings = settings.drawing().fitted(problem.operator)
    if isinstance(settings, ReddiffSettings) and not gaussian:
        return solver_for(settings, prior, data_term=likelihood)
    return solver_for(settings, prior)


def check_serves(settings: Settings, problem: Problem) -> None:
    """Sees whether a solver can do a problem at all, without computing anything.

    Raises:
        ValueError: If the problem lacks what the solver needs; names the solvers that can.
    """
    reason = settings.obstacle(problem)
    if reason is not None:
        what = kind_of(problem.operator) or type(problem.operator).__name__
        able = [name for name, each in SETTINGS.items() if not each().fitted(problem.operator).obstacle(problem)]
        raise ValueError(f"{settings.name} cannot do {what} ({reason}); choose one of {', '.join(able)}.")
