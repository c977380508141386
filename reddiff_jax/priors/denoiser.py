"""A prior as a denoiser of one noise level, for plug-and-play methods of other packages."""

from collections.abc import Callable

import jax
import numpy as np

from reddiff_jax._checks import check_callable, check_positive, numbers
from reddiff_jax._types import Condition, Image
from reddiff_jax.priors._base import Prior, check_prior
from reddiff_jax.schedules import Schedule


def as_denoiser(
    prior: Prior,
    sigma: jax.Array | float,
    *,
    cond: Condition = None,
    to_timestep: Callable[[Schedule, jax.Array | float], jax.Array] = Schedule.fractional,
) -> Callable[[Image], Image]:
    """The denoiser D(x) = E[x_0 | x] of ``x = x_0 + sigma n``, as plug-and-play methods take it.

    Args:
        prior: Diffusion prior.
        sigma: Standard deviation of the noise, for pixels in [-1, 1]: twice that for pixels in [0, 1]. Within the
            levels of the prior's schedule.
        cond: The prior's condition.
        to_timestep: ``Schedule.fractional``, for priors that take any t; or ``Schedule.nearest``.

    Returns:
        A function of an image (H, W, C) in [-1, 1]; it can be jitted, vmapped and differentiated.

    Raises:
        ValueError: If ``sigma`` is not positive, or outside the levels of the schedule.

    Source:
        Venkatakrishnan et al. 2013 ("Plug-and-play priors", GlobalSIP); for diffusion priors, Karras et al. 2022
        (arXiv 2206.00364), eq. 1.
    """
    check_prior("as_denoiser", prior)
    check_positive("as_denoiser: sigma", sigma, "It is a standard deviation for pixels in [-1, 1].")
    check_callable("as_denoiser: to_timestep", to_timestep, "a function: rd.Schedule.fractional or rd.Schedule.nearest")
    seen, levels = numbers(sigma), numbers(prior.schedule.sigmas / prior.schedule.alphas)
    if seen is not None and levels is not None:
        low, high = float(levels.min()), float(levels.max())
        if (np.asarray(seen) < 0.999 * low).any() or (np.asarray(seen) > 1.001 * high).any():
            raise ValueError(
                f"as_denoiser: sigma is {sigma} but the prior's schedule has levels from {low:.3g} to {high:.3g}, for "
                "pixels in [-1, 1]; take a level among them, or a prior of another schedule."
            )

    def denoise(x: Image) -> Image:
        t = to_timestep(prior.schedule, sigma)
        return prior.denoise(prior.schedule(t)[0] * x, t, cond)

    return denoise
