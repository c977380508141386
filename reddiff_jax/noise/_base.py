"""What measurement noise is."""

import abc
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax._checks import check_numbers, is_visible, numbers, show
from reddiff_jax._repr import Repr
from reddiff_jax._types import Key


@struct.dataclass
class Noise(Repr, abc.ABC):
    """How a measurement departs from ``operator(x)``.

    Noises are pytrees: their parameters are leaves, so a batch with a noise level for each image is ``jax.vmap``.
    """

    @abc.abstractmethod
    def sample(self, key: Key, y: Array) -> Array:
        """Draws a noisy measurement around the clean ``y``."""

    @abc.abstractmethod
    def nll(self, y: Array, y_hat: Array) -> Float[Array, ""]:
        """Negative log-likelihood of ``y`` given the clean ``y_hat``: a sum over entries, constants left out."""

    @abc.abstractmethod
    def variance(self, y: Array) -> Float[Array, ""]:
        """Variance of the noise around a measurement like ``y``: a mean over entries, in squared units of y."""

    def misfit(self, y: Array, y_hat: Array) -> Float[Array, ""]:
        """The nll times the mean variance: in the units of ``|y - y_hat|^2 / 2``, which it is for Gaussian noise.

        At the true ``y_hat`` both have about the same mean, so a weight of the prior that suits one suits the other.
        """
        return self.variance(y) * self.nll(y, y_hat)


def check_real(noise: Noise, *values: Array) -> None:
    """Raises TypeError if a measurement is complex."""
    for value in values:
        if jnp.iscomplexobj(value):
            raise TypeError(
                f"{type(noise).__name__} noise needs a real measurement but it is {value.dtype}. Measure its magnitude "
                "(jnp.abs in the operator), or use rd.gaussian."
            )


def check_range(name: str, low: Any, high: Any) -> None:
    """Raises ValueError unless concrete ``low`` is below ``high``, both finite."""
    for end, value in (("low", low), ("high", high)):
        check_numbers(f"{name}: {end}", value, np.isfinite, "finite")
    # The difference is taken under vmap, which knows the axes of both.
    if is_visible(low, high) and not (numbers(high - low) > 0).all():  # type: ignore[operator]
        raise ValueError(f"{name}: low is {show(low)} and high is {show(high)} but low must be below high.")


def continue_below(x: Array, least: Array, slope: Array | float, curvature: Array | float) -> Array:
    """What to add to a function clamped to ``x >= least``: below it, a parabola of that slope and curvature."""
    below = jnp.minimum(x - least, 0.0)
    return slope * below + 0.5 * curvature * below**2


def leaf(value: Any) -> jax.Array:
    """A parameter as an array of JAX's default float."""
    return jnp.asarray(value, dtype=float)
