"""Functions as priors: of the timestep, of the noise level as EDM's, or a flow's velocity."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from reddiff_jax._checks import check_type, describe
from reddiff_jax._types import Condition, Image, Timestep
from reddiff_jax.priors._base import Prior, check_made
from reddiff_jax.priors.predictions import ToEps, from_eps, from_velocity, from_x0
from reddiff_jax.schedules import Schedule, rectified_flow


@struct.dataclass
class FunctionPrior(Prior):
    """A plain function as a prior."""

    params: Any
    fn: Callable[..., jax.Array] = struct.field(pytree_node=False)
    to_eps: ToEps = struct.field(pytree_node=False, default=from_eps)

    def eps(self, x_t: Image, t: Timestep, cond: Condition = None) -> Image:
        """Predicts the noise in ``x_t``."""
        output = self.fn(x_t, t, cond) if self.params is None else self.fn(self.params, x_t, t, cond)
        check_prediction(self.fn, output, x_t)
        return self.to_eps(output, x_t, *self.schedule(t))


@struct.dataclass
class EdmPrior(Prior):
    """A denoiser D(x; sigma) of ``x = x_0 + sigma n`` as a prior, for any schedule."""

    params: Any
    fn: Callable[..., jax.Array] = struct.field(pytree_node=False)

    def eps(self, x_t: Image, t: Timestep, cond: Condition = None) -> Image:
        """Predicts the noise in ``x_t`` through D(x_t / alpha_t; sigma_t / alpha_t)."""
        alpha_t, sigma_t = self.schedule(t)
        args = (x_t / alpha_t, sigma_t / alpha_t, cond)
        x_hat = self.fn(*args) if self.params is None else self.fn(self.params, *args)
        check_prediction(self.fn, x_hat, x_t)
        return from_x0(x_hat, x_t, alpha_t, sigma_t)


@struct.dataclass
class FlowPrior(Prior):
    """A velocity field v(x, s) of straight lines ``x = (1 - s) x_0 + s eps`` as a prior, for any schedule."""

    params: Any
    fn: Callable[..., jax.Array] = struct.field(pytree_node=False)
    to_data: bool = struct.field(pytree_node=False, default=False)

    def eps(self, x_t: Image, t: Timestep, cond: Condition = None) -> Image:
        """Predicts the noise in ``x_t``, which lies on the line at s = sigma_t / (alpha_t + sigma_t) once scaled."""
        alpha_t, sigma_t = self.schedule(t)
        length = alpha_t + sigma_t
        s = sigma_t / length
        args = (x_t / length, 1 - s if self.to_data else s, cond)
        v = self.fn(*args) if self.params is None else self.fn(self.params, *args)
        check_prediction(self.fn, v, x_t)
        return from_velocity(-v if self.to_data else v, args[0], alpha_t / length, s)


def check_prediction(fn: Callable[..., jax.Array], output: Any, x_t: Image) -> None:
    """Raises ValueError unless a prediction has the image's shape."""
    if jnp.shape(output) == x_t.shape:
        return
    remedy = "It must return one prediction of the image's shape; it gets one image, without a batch axis."
    if jnp.shape(output) == (*x_t.shape[:2], 2 * x_t.shape[2]):
        channels = x_t.shape[2]
        remedy = f"Is half of it a learned variance, as guided-diffusion's? Return output[:, :, :{channels}]."
    name = getattr(fn, "__name__", type(fn).__name__)
    raise ValueError(f"the prior's fn, {name}, returned {describe(output)} for an image {x_t.shape}. {remedy}")


def edm_prior(fn: Callable[..., jax.Array], schedule: Schedule, *, params: Any = None) -> Prior:
    """Makes a prior of a denoiser with EDM's interface.

    Args:
        fn: Called as ``fn(x, sigma, cond)``, or ``fn(params, x, sigma, cond)`` where ``params`` are given; returns
            D(x; sigma), the estimate of the clean image from x = x_0 + sigma n. It does its own preconditioning.
        schedule: Any schedule; x and sigma are rescaled from it.
        params: Pytree of arrays, traced.

    Source:
        Karras et al. 2022 (arXiv 2206.00364), eq. 1 and 7.
    """
    check_made("edm_prior", fn, schedule)
    return EdmPrior(schedule=schedule, params=params, fn=fn)


def flow_prior(
    fn: Callable[..., jax.Array], schedule: Schedule | None = None, *, params: Any = None, to_data: bool = False
) -> Prior:
    """Makes a prior of a velocity field, that of flow matching or a rectified flow.

    Args:
        fn: Called as ``fn(x, s, cond)``, or ``fn(params, x, s, cond)`` where ``params`` are given: x = (1 - s) x_0 +
            s eps, and s in (0, 1) is the noise's share. It returns dx / ds = eps - x_0. A network that takes 1000 s
            gets it: ``lambda x, s, cond: net(x, 1000 * s)``.
        schedule: Any schedule, to which x and s are rescaled; ``schedules.rectified_flow()`` if None.
        params: Pytree of arrays, traced.
        to_data: Whether the field's own time tau runs from noise at 0 to pictures at 1, as in Liu et al. and Lipman et
            al.: ``fn(x, tau, cond)`` is given tau = 1 - s and returns dx / dtau = x_0 - eps.

    Raises:
        TypeError: If an argument is of another type. When called: ValueError, if the prediction has another shape than
            the image.

    Source:
        Liu et al. 2023 (arXiv 2209.03003), eq. 1; Lipman et al. 2023 (arXiv 2210.02747).
    """
    schedule = rectified_flow() if schedule is None else schedule
    check_made("flow_prior", fn, schedule)
    check_type("flow_prior: to_data", to_data, bool, "True or False")
    return FlowPrior(schedule=schedule, params=params, fn=fn, to_data=to_data)
