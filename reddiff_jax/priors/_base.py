"""Diffusion priors: what a solver knows about images.

A prior has a schedule and predicts the noise in ``x_t = alpha_t x_0 + sigma_t eps``. Everything else follows by
Tweedie's formula (Robbins 1956; Efron 2011): ``x_hat = E[x_0 | x_t] = (x_t - sigma_t eps_hat) / alpha_t`` and
``score = grad log p_t(x_t) = -eps_hat / sigma_t``.
"""

import abc
from collections.abc import Callable

import jax
from flax import struct

from reddiff_jax._checks import check_callable, check_type, describe
from reddiff_jax._repr import Detail, Repr, field_parts
from reddiff_jax._types import Condition, Image, Timestep
from reddiff_jax.schedules import Schedule


@struct.dataclass
class Prior(Repr, abc.ABC):
    """A distribution of images, known through its noise prediction."""

    schedule: Schedule

    @abc.abstractmethod
    def eps(self, x_t: Image, t: Timestep, cond: Condition = None) -> Image:
        """Predicts the noise in ``x_t`` at timestep ``t``."""

    def _repr_parts(self, detail: Detail) -> list[str]:
        return [*field_parts(self, detail, without=("schedule",)), f"{self.schedule.num_timesteps} timesteps"]

    def denoise(self, x_t: Image, t: Timestep, cond: Condition = None) -> Image:
        """Tweedie estimate of the clean image, E[x_0 | x_t]."""
        alpha_t, sigma_t = self.schedule(t)
        return (x_t - sigma_t * self.eps(x_t, t, cond)) / alpha_t

    def score(self, x_t: Image, t: Timestep, cond: Condition = None) -> Image:
        """Gradient of the log density of ``x_t``."""
        return -self.eps(x_t, t, cond) / self.schedule(t)[1]


# ---- checks


def check_prior(name: str, prior: Prior, argument: str = "prior") -> None:
    """Raises TypeError unless a prior came."""
    needed = "a Prior, such as rd.load_prior(); a function becomes one by rd.prior(fn, schedule)"
    if hasattr(prior, "autoencoder"):
        needed = "a Prior: build the solver with latent.prior, and give both to rd.latent_solver(solver, latent)"
    check_type(f"{name}: {argument}", prior, Prior, needed)


def check_made(name: str, fn: Callable[..., jax.Array], schedule: Schedule) -> None:
    needed = f"a function (x_t, t, cond) -> prediction; the order is {name}(fn, schedule)"
    if isinstance(fn, Schedule):  # which can be called, too
        raise TypeError(f"{name}: fn is {describe(fn)} but must be {needed}.")
    check_callable(f"{name}: fn", fn, needed)
    check_schedule(name, schedule)


def check_schedule(name: str, schedule: Schedule) -> None:
    needed = "a Schedule, such as rd.schedules.linear() or rd.schedules.from_betas(betas)"
    check_type(f"{name}: schedule", schedule, Schedule, needed)
