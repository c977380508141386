"""The interface of a solver: pure ``init`` and ``step``, which ``run`` scans."""

import abc
from typing import Any, Generic, TypeVar

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax._repr import Repr
from reddiff_jax._types import Image, Key
from reddiff_jax.noise import Gaussian
from reddiff_jax.problems import Problem

State = TypeVar("State")


@struct.dataclass
class Solver(Repr, abc.ABC, Generic[State]):
    """An iterative method, with all that images share; what belongs to one image is its ``Problem``.

    A state is a flax struct with at least ``step``, the int32 number of steps done.
    """

    @property
    @abc.abstractmethod
    def num_steps(self) -> int:
        """Number of steps of a whole run."""

    @abc.abstractmethod
    def init(self, key: Key, problem: Problem) -> State:
        """Returns the state before the first step."""

    @abc.abstractmethod
    def step(self, key: Key, state: State, problem: Problem) -> tuple[State, Any]:
        """Does one step; returns the new state and an Info of scalars."""

    @abc.abstractmethod
    def estimate(self, state: State) -> Image:
        """Reads the restored image off a state."""


LIKELIHOOD = "rd.reddiff with rd.optax_step(data_term=rd.likelihood)"
"""What serves noise that is not Gaussian, for errors."""


def known_sigma_y(solver: str, problem: Problem, remedy: str) -> Float[Array, ""]:
    """Returns the standard deviation of the measurement noise, or raises TypeError if the noise is not Gaussian."""
    if not isinstance(problem.noise, Gaussian):
        raise TypeError(
            f"{solver} needs Gaussian noise, whose sigma_y it uses; problem.noise is "
            f"{type(problem.noise).__name__}. {remedy}"
        )
    return problem.noise.sigma_y


def scalar(value: jax.Array | float) -> jax.Array:
    """Makes a hyperparameter a leaf; numbers stay weakly typed, like those of solver.replace(lam=0.5)."""
    # A change of type would compile again.
    return jnp.asarray(float(value)) if isinstance(value, int | float) else jnp.asarray(value, dtype=float)


def scalar_unless_zero(value: jax.Array | float) -> jax.Array | None:
    """Returns None for the number 0, so that a term without weight is left out of the program."""
    return None if isinstance(value, int | float) and value == 0 else scalar(value)
