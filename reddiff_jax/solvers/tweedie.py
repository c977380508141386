"""Denoising by Tweedie's formula: one evaluation of the network a view, and the mean over the views.

A picture with white noise of standard deviation sigma_y is, scaled, what the network was trained on. So its posterior
mean takes one evaluation (Robbins 1956; Efron 2011), with r = sigma_t / alpha_t the noise level of t:

    x_hat(y) = y + (sigma_y / r)^2 (D(y, t) - y),   D(y, t) = (alpha_t y - sigma_t eps(alpha_t y, t)) / alpha_t

t is the timestep at which r = sigma_y. Where the schedule has none so low, the formula goes to y as sigma_y goes to 0.
A trained network does not quite see a mirrored picture as it sees the picture. The mean over the symmetries S_k of
the square, ``mean_k S_k^-1 x_hat(S_k y)``, has less of its error (self-ensemble; Lim et al. 2017, arXiv 1707.02921).
"""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Int

from reddiff_jax._checks import check_whole
from reddiff_jax._repr import Repr
from reddiff_jax._types import Condition, Image, Key
from reddiff_jax.priors import Prior, check_prior
from reddiff_jax.problems import Problem, check_single
from reddiff_jax.solvers._base import Solver, known_sigma_y
from reddiff_jax.solvers._sampler import SamplerInfo

NUM_MIRRORED = 4
"""Views that keep height and width: the picture, mirrored in each axis, and in both."""
NUM_VIEWS = 8
"""All symmetries of the square: the same transposed, too."""


@struct.dataclass
class TweedieState(Repr):
    """All that the next step needs."""

    mean: jax.Array  # (H, W, C), mean over the views seen; y before the first
    step: jax.Array  # int32, number of views seen


@struct.dataclass
class Tweedie(Solver[TweedieState]):
    """The posterior mean of a noisy picture; build it with ``tweedie``."""

    prior: Prior
    num_views: int = struct.field(pytree_node=False)

    @property
    def num_steps(self) -> int:
        """Number of views, one a step."""
        return self.num_views

    def init(self, key: Key, problem: Problem) -> TweedieState:
        """Returns the state before the first view: y."""
        check_single(problem)
        if not problem.operator.is_denoising:
            raise TypeError(
                f"tweedie removes noise alone, from what rd.denoising measures; {type(problem.operator).__name__} "
                f"is not that operator. Use rd.default_solver."
            )
        known_sigma_y("tweedie", problem, "Use rd.reddiff.")
        height, width, _ = problem.operator.in_shape
        if self.num_views > NUM_MIRRORED and height != width:
            raise ValueError(
                f"tweedie: num_steps is {self.num_views} but must be {NUM_MIRRORED} at most for a picture of "
                f"{width} x {height}, which is not square: transposed views have another shape."
            )
        return TweedieState(self.noisy(problem), jnp.zeros((), jnp.int32))

    def step(self, key: Key, state: TweedieState, problem: Problem) -> tuple[TweedieState, SamplerInfo]:
        """Denoises one more view; draws nothing."""
        schedule, sigma_y = self.prior.schedule, known_sigma_y("tweedie", problem, "")
        t = schedule.fractional(sigma_y)
        alpha_t, sigma_t = schedule(t)
        y = self.view(self.noisy(problem), state.step)
        part = jnp.minimum(sigma_y * alpha_t / sigma_t, 1.0) ** 2
        denoised = self.prior.denoise(alpha_t * y, t, self.view_condition(problem, state.step))
        x_hat = self.view_back(y + part * (denoised - y), state.step)
        # Before the first view the mean is y, which has no weight.
        mean = state.mean + (x_hat - state.mean) / (state.step + 1)
        new = TweedieState(mean.astype(state.mean.dtype), state.step + 1)
        return new, SamplerInfo(t=t, residual=problem.rms_residual(mean))

    def estimate(self, state: TweedieState) -> Image:
        """Returns the mean over the views seen so far."""
        return state.mean

    def noisy(self, problem: Problem) -> Image:
        """The picture with its noise, y itself for ``rd.denoising``."""
        return jnp.asarray(problem.operator.pinv(problem.y), float)

    def view(self, image: Image, number: Int[Array, ""]) -> Image:
        """A picture mirrored and transposed: the view of this number, in 0..7."""
        image = self._transposed(image, number)
        image = jnp.where(number & 1, image[:, ::-1], image)
        return jnp.where(number & 2, image[::-1], image)

    def view_back(self, image: Image, number: Int[Array, ""]) -> Image:
        """The picture of which this is a view."""
        image = jnp.where(number & 2, image[::-1], image)
        image = jnp.where(number & 1, image[:, ::-1], image)
        return self._transposed(image, number)

    def view_condition(self, problem: Problem, number: Int[Array, ""]) -> Condition:
        """The condition, whose images of the picture's height and width are viewed with it."""
        size = problem.operator.in_shape[:2]

        def turned(leaf):
            is_image = jnp.ndim(leaf) == 3 and jnp.shape(leaf)[:2] == size
            return self.view(leaf, number) if is_image else leaf

        return jax.tree.map(turned, problem.cond)

    def _transposed(self, image: Image, number: Int[Array, ""]) -> Image:
        if self.num_views <= NUM_MIRRORED:
            return image
        return jnp.where(number & NUM_MIRRORED, jnp.swapaxes(image, 0, 1), image)


def tweedie(prior: Prior, *, num_steps: int = NUM_VIEWS) -> Tweedie:
    """The posterior mean E[x | y] of a picture with white noise: the best that a denoiser can do in squared error.

    It costs one evaluation of the network, or one a view (benchmarks/views.py). It draws no samples: for texture,
    and for how sure a restoration is, use ``rd.noise_aware(prior, sample=True)``.

    Args:
        prior: Diffusion prior; it is asked at timesteps between the integers, too.
        num_steps: Number of network evaluations, one for each mirrored or transposed view: 1 to 8, at most 4 for
            pictures that are not square.

    Raises:
        ValueError: If ``num_steps`` is not from 1 to 8; from ``init``, above 4 for a picture that is not square.
        TypeError: From ``init``, if the operator is not ``Denoising`` or the noise not Gaussian.

    Source:
        Efron 2011 (doi 10.1198/jasa.2011.tm11181), eq. 1.4; Lim et al. 2017 (arXiv 1707.02921), section 3.4.
    """
    check_prior("tweedie", prior)
    check_whole("tweedie: num_steps", num_steps)
    if num_steps > NUM_VIEWS:
        raise ValueError(
            f"tweedie: num_steps is {num_steps} but must be from 1 to {NUM_VIEWS}: there are no more views."
        )
    return Tweedie(prior, num_steps)
