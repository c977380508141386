"""Base of the samplers, which take a noisy image down the noise levels."""

import abc
from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from reddiff_jax._checks import check_non_negative, check_numbers
from reddiff_jax._repr import Repr
from reddiff_jax._types import Image, Key, Timestep
from reddiff_jax.operators import SpectralOperator
from reddiff_jax.priors import Prior
from reddiff_jax.problems import Problem, check_single
from reddiff_jax.solvers._base import Solver, known_sigma_y
from reddiff_jax.solvers._initial_images import Init, first_image
from reddiff_jax.solvers._transition import Scales


@struct.dataclass
class SamplerState(Repr):
    """All that the next step needs."""

    x_t: jax.Array  # (H, W, C), at the noise level of the next step; clean after the last
    step: jax.Array  # int32, number of steps done


@struct.dataclass
class SamplerInfo(Repr):
    """Scalars to watch during a run."""

    t: jax.Array  # timestep of the step
    residual: jax.Array  # root mean square of A(x_hat) - y


@struct.dataclass
class Sampler(Solver[SamplerState]):
    """A walk x_T -> ... -> x_t -> x_s -> ... -> x_0 over ``timesteps``, which ends at t = -1, the clean image.

    It starts from the initial image, noised: ``x_T = alpha_T initial + sigma_T z``.
    """

    prior: Prior
    timesteps: jax.Array  # (num_steps,) int32, descending
    initial_image: Init = struct.field(pytree_node=False)

    remedy: ClassVar[str] = "Use rd.dps or rd.reddiff."  # for problems that the method cannot solve

    @property
    def num_steps(self) -> int:
        """Number of steps of a whole run."""
        return self.timesteps.shape[-1]

    def init(self, key: Key, problem: Problem) -> SamplerState:
        """Returns the state before the first step."""
        check_single(problem)
        self.check(problem)
        key_initial, key_z = jax.random.split(key)
        initial = first_image(self.initial_image, key_initial, problem, *self.prior.schedule(self.timesteps[0]))
        z = jax.random.normal(key_z, initial.shape, initial.dtype)
        return SamplerState(self.first_x_t(z, initial, problem).astype(float), jnp.zeros((), jnp.int32))

    def step(self, key: Key, state: SamplerState, problem: Problem) -> tuple[SamplerState, SamplerInfo]:
        """Draws the noise of one step and goes to the next level."""
        t, s = self.levels(state.step)
        x_s, x_hat = self.update(self.draw(key, state.x_t), state.x_t, t, s, problem)
        # The scanned state keeps its type even where an operator works in another.
        new = SamplerState(x_s.astype(state.x_t.dtype), state.step + 1)
        return new, SamplerInfo(t=t, residual=problem.rms_residual(x_hat))

    def estimate(self, state: SamplerState) -> Image:
        """Returns x_t: the restored image after the last step, and a noisy one before."""
        return state.x_t

    def check(self, problem: Problem) -> None:
        """Raises TypeError if the problem lacks what the method needs; here all serve."""

    def first_x_t(self, z: Image, initial: Image, problem: Problem) -> Image:
        """``x_T = alpha_T initial + sigma_T z``."""
        alpha_t, sigma_t = self.prior.schedule(self.timesteps[0])
        return alpha_t * initial + sigma_t * z

    def draw(self, key: Key, x_t: Image) -> Float[Array, "*K H W C"]:
        """Draws the noise of one step, one image unless a method says otherwise."""
        return jax.random.normal(key, x_t.shape, x_t.dtype)

    @abc.abstractmethod
    def update(self, z: Image, x_t: Image, t: Timestep, s: Timestep, problem: Problem) -> tuple[Image, Image]:
        """One step with its noise ``z`` given: returns x_s, and the estimate x_hat whose residual is watched."""

    def levels(self, step: Int[Array, ""]) -> tuple[jax.Array, jax.Array]:
        """Returns the timestep t of a step and the next one s, -1 after the last."""
        following = jnp.append(self.timesteps[1:], -1)
        return self.timesteps[step], following[step]

    def scales(self, t: Timestep, s: Timestep) -> tuple[Scales, Scales]:
        """Returns (alpha_t, alpha_s) and (sigma_t, sigma_s)."""
        (alpha_t, sigma_t), (alpha_s, sigma_s) = self.prior.schedule(t), self.prior.schedule(s)
        return (alpha_t, alpha_s), (sigma_t, sigma_s)

    def tweedie(self, x_t: Image, t: Timestep, problem: Problem) -> tuple[Image, Image]:
        """Returns ``x_hat = E[x_0 | x_t] = (x_t - sigma_t eps_hat) / alpha_t`` and eps_hat, by one evaluation."""
        alpha_t, sigma_t = self.prior.schedule(t)
        eps_hat = self.prior.eps(x_t, t, problem.cond)
        return (x_t - sigma_t * eps_hat) / alpha_t, eps_hat

    def tweedie_vjp(self, x_t: Image, t: Timestep, problem: Problem) -> tuple[Image, Image, Callable[[Image], Image]]:
        """Returns x_hat, eps_hat and the map ``v -> (d x_hat / d x_t)^T v``."""
        x_hat, pull, eps_hat = jax.vjp(lambda x_t: self.tweedie(x_t, t, problem), x_t, has_aux=True)
        return x_hat, eps_hat, lambda v: pull(v.astype(x_hat.dtype))[0]

    def spectrum(self, problem: Problem) -> tuple[SpectralOperator, Float[Array, "..."], Array]:
        """Returns the operator, its singular values, and which of them its pseudo-inverse keeps.

        Raises:
            TypeError: If the operator has no singular value decomposition.
        """
        operator = problem.operator
        if not isinstance(operator, SpectralOperator):
            raise TypeError(
                f"{self._name} needs a SpectralOperator; {type(operator).__name__} has no singular value "
                f"decomposition. {self.remedy}"
            )
        s = operator.singulars
        return operator, s, s > operator.rcond * jnp.max(s)

    def sigma_y(self, problem: Problem) -> Float[Array, ""]:
        """Returns the standard deviation of the measurement noise, or raises TypeError if it is not Gaussian."""
        return known_sigma_y(self._name, problem, self.remedy)

    @property
    def _name(self) -> str:
        return type(self).__name__.lower()


def safe_norm(misfit: Float[Array, ""]) -> Float[Array, ""]:
    """The norm of a residual from its misfit (half its square), 1 where that is zero."""
    return jnp.sqrt(jnp.where(misfit > 0, 2 * misfit, 1.0))


def check_sampler(eta: jax.Array | float, *, name: str = "eta", **scales: jax.Array | float) -> None:
    """Raises ValueError for a concrete ``eta`` outside [0, 1], or another scale that is negative."""
    check_numbers(name, eta, lambda x: (x >= 0) & (x <= 1), "between 0 (deterministic) and 1")
    for scale, value in scales.items():
        check_non_negative(scale, value)
