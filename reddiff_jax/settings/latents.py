"""A solver's settings for a latent prior."""

from dataclasses import replace
from typing import Any

from reddiff_jax.latents import Latent
from reddiff_jax.priors import Prior
from reddiff_jax.settings.base import Settings
from reddiff_jax.settings.noise_aware import NoiseAwareSettings
from reddiff_jax.solvers import RedDiff, Solver, averaged, latent_solver, pixel_step

FOR_LATENTS = "noise_aware"
"""Name of the solver that restores with a latent prior what others restore with one of pixels: denoising, too."""


def solver_for(settings: Settings, prior: Prior | Latent, **options: Any) -> Solver:
    """The solver with these settings, for a prior of pixels or of latents.

    Of latents, noise-aware RED-diff solves for the measurement in pixels (``pixel_step``) and averages pictures; its
    samples and all other solvers take derivatives through the decoder.

    Args:
        settings: Of the solver.
        prior: The prior.
        **options: What else ``settings.solver`` takes.
    """
    if not isinstance(prior, Latent):
        return settings.solver(prior, **options)
    if not isinstance(settings, NoiseAwareSettings) or settings.sample:
        return latent_solver(settings.solver(prior.prior, **options), prior)
    solver = replace(settings, num_runs=1).solver(prior.prior)
    assert isinstance(solver, RedDiff)
    step = pixel_step(num_cg=settings.num_cg)
    one = latent_solver(solver.replace(step_rule=step), prior)  # type: ignore[attr-defined]
    return one if settings.num_runs == 1 else averaged(one, settings.num_runs)
