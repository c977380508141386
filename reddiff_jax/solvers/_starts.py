"""First images of a run: functions (key, problem, schedule scales at the first timestep) -> image."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from reddiff_jax._types import Image, Key
from reddiff_jax.problem import Problem

Init = Callable[[Key, Problem, jax.Array, jax.Array], jax.Array]


def init_pinv(key: Key, problem: Problem, alpha_t: jax.Array, sigma_t: jax.Array) -> Image:
    """Starts from the pseudo-inverse A+ y, the paper's choice."""
    return problem.operator.pinv(problem.y)


def init_zeros(key: Key, problem: Problem, alpha_t: jax.Array, sigma_t: jax.Array) -> Image:
    """Starts from the gray image."""
    return jnp.zeros(problem.operator.in_shape)


def init_noise(key: Key, problem: Problem, alpha_t: jax.Array, sigma_t: jax.Array) -> Image:
    """Starts from white noise N(0, I)."""
    return jax.random.normal(key, problem.operator.in_shape)


def init_given(key: Key, problem: Problem, alpha_t: jax.Array, sigma_t: jax.Array) -> Image:
    """Starts from ``problem.init``."""
    if problem.init is None:
        raise ValueError("init=init_given needs a first guess: rd.problem(..., init=image).")
    return problem.init


def init_noised_pinv(key: Key, problem: Problem, alpha_t: jax.Array, sigma_t: jax.Array) -> Image:
    """Starts from alpha_T A+ y + sigma_T z, the pseudo-inverse carried to the first timestep."""
    return alpha_t * problem.operator.pinv(problem.y) + sigma_t * jax.random.normal(key, problem.operator.in_shape)
