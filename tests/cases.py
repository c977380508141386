"""Every public operator and solver by name, for the tests that hold for all of them."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import reddiff_jax as rd
import reddiff_jax.operators as ops


@dataclasses.dataclass(frozen=True)
class OperatorCase:
    """One operator to be tested against the laws.

    Args:
        name: The test's id.
        factory: Name of the public factory.
        make: Builds it from a seed; other seeds give other arrays of the same shapes, where there are any to vary.
        truncation: ``pinv`` leaves singular values up to this one out: ``|A pinv A x - A x| <= truncation |x|``.
        has_pinv: Whether there is a ``pinv`` at all.
    """

    name: str
    factory: str
    make: Callable[[int], ops.Operator]
    truncation: float = 0.0
    has_pinv: bool = True


RGB = (16, 24, 3)
GREY = (24, 16, 1)


def _mask(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).random(shape) > 0.4


def _kernel(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).random(shape)


def _gamma(params: jax.Array, x: jax.Array) -> jax.Array:
    return jnp.tanh(params * x)


def _gamma_pinv(params: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.arctanh(y) / params


def _square(x: jax.Array) -> jax.Array:
    return x**2


def _gain(params: dict, x: jax.Array) -> jax.Array:
    return params["gain"] * x[::2]


def _gain_adjoint(params: dict, y: jax.Array) -> jax.Array:
    return jnp.zeros((2 * y.shape[0], *y.shape[1:]), y.dtype).at[::2].set(params["gain"] * y)


def _fourier(x: jax.Array) -> jax.Array:
    return jnp.fft.fft2(x, axes=(0, 1), norm="ortho")[:, ::2]


def _fn_gain(seed: int, **options: Callable) -> ops.Operator:
    gain = jnp.asarray(1 + _kernel(seed, 1, 24, 3), dtype=float)
    return ops.linear_operator(_gain, RGB, params={"gain": gain}, **options)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _motion_blur(key: jax.Array, shape: tuple[int, int, int], boundary: ops.Boundary) -> ops.Operator:
    return ops.motion_blur(key, shape, size=31, boundary=boundary)


B = ops.Boundary
CUT = 3e-2  # the blurs' default rcond; conjugate gradients stop at a comparable place

OPERATORS = [
    OperatorCase("denoising", "denoising", lambda seed: ops.denoising(RGB)),
    OperatorCase("inpainting", "inpainting", lambda seed: ops.inpainting(_mask(seed, *RGB[:2]))),
    OperatorCase("inpainting_grey", "inpainting", lambda seed: ops.inpainting(_mask(seed, *GREY), channels=1)),
    OperatorCase("inpainting_channels", "inpainting", lambda seed: ops.inpainting(_mask(seed, *RGB))),
    OperatorCase("super_resolution2", "super_resolution", lambda seed: ops.super_resolution(GREY, 2)),
    OperatorCase("super_resolution4", "super_resolution", lambda seed: ops.super_resolution(RGB, 4)),
    OperatorCase("super_resolution3", "super_resolution", lambda seed: ops.super_resolution((9, 12, 2), 3)),
    OperatorCase("bicubic2", "bicubic", lambda seed: ops.bicubic(RGB, 2)),
    OperatorCase("bicubic3", "bicubic", lambda seed: ops.bicubic((9, 12, 1), 3)),
    OperatorCase("bicubic8", "bicubic", lambda seed: ops.bicubic(GREY, 8)),
    OperatorCase("colorization", "colorization", lambda seed: ops.colorization(RGB)),
    OperatorCase(
        "colorization_weights", "colorization", lambda seed: ops.colorization((8, 6, 4), weights=(0.1, -0.2, 0.3, 0.8))
    ),
    *(
        OperatorCase(
            f"gaussian_blur_{boundary}",
            "gaussian_blur",
            lambda seed, boundary=boundary: ops.gaussian_blur(RGB, sigma=1.0 + seed, size=9, boundary=boundary),
            truncation=CUT,
        )
        for boundary in B
    ),
    OperatorCase("gaussian_blur_61", "gaussian_blur", lambda seed: ops.gaussian_blur(GREY), truncation=CUT),
    OperatorCase("uniform_blur", "uniform_blur", lambda seed: ops.uniform_blur(RGB), truncation=CUT),
    *(
        OperatorCase(
            f"blur_{boundary}",
            "blur",
            lambda seed, boundary=boundary: ops.blur(_kernel(seed, 5, 3), RGB, boundary=boundary),
            truncation=CUT,
        )
        for boundary in B
    ),
    OperatorCase(
        "blur_channels",
        "blur",
        lambda seed: ops.blur(_kernel(seed, 4, 6, 3), RGB, boundary=B.CIRCULAR),
        truncation=CUT,
    ),
    OperatorCase(
        "motion_blur", "motion_blur", lambda seed: _motion_blur(jax.random.key(seed), RGB, B.REFLECT), truncation=CUT
    ),
    OperatorCase(
        "motion_blur_circular",
        "motion_blur",
        lambda seed: _motion_blur(jax.random.key(seed), GREY, B.CIRCULAR),
        truncation=CUT,
    ),
    OperatorCase(
        "operator",
        "operator",
        lambda seed: ops.operator(_gamma, RGB, params=jnp.asarray(0.5 + seed, dtype=float), pinv=_gamma_pinv),
    ),
    OperatorCase("operator_plain", "operator", lambda seed: ops.operator(_square, GREY), has_pinv=False),
    OperatorCase("linear_operator", "linear_operator", _fn_gain),
    OperatorCase("linear_operator_adjoint", "linear_operator", lambda seed: _fn_gain(seed, adjoint=_gain_adjoint)),
    OperatorCase("linear_operator_complex", "linear_operator", lambda seed: ops.linear_operator(_fourier, RGB)),
]


@dataclasses.dataclass(frozen=True)
class SolverCase:
    """One solver to be tested against the laws.

    Args:
        name: The test's id.
        factory: Name of the public factory.
        make: Builds it from a prior, with few steps.
    """

    name: str
    factory: str
    make: Callable[[Any], Any]


SOLVERS = [
    SolverCase("reddiff", "reddiff", lambda prior: rd.reddiff(prior, num_steps=6)),
    SolverCase(
        "reddiff_averaged",
        "reddiff",
        lambda prior: rd.reddiff(
            prior, optax.sgd(0.1, momentum=0.9), num_steps=6, timesteps_per_update=3, order=rd.random, sigma_x0=0.1
        ),
    ),
    SolverCase(
        "reddiff_compat", "reddiff", lambda prior: rd.reddiff(prior, num_steps=10, compat="nvlabs", batch_size=4)
    ),
    SolverCase("ddim", "ddim", lambda prior: rd.ddim(prior, eta=0.5, num_steps=6)),
    SolverCase("ddnm", "ddnm", lambda prior: rd.ddnm(prior, num_steps=6)),
    SolverCase("ddrm", "ddrm", lambda prior: rd.ddrm(prior, num_steps=6)),
    SolverCase("dps", "dps", lambda prior: rd.dps(prior, num_steps=6)),
    SolverCase("mcg", "mcg", lambda prior: rd.mcg(prior, num_steps=6)),
    SolverCase("pigdm", "pigdm", lambda prior: rd.pigdm(prior, num_steps=6)),
]
