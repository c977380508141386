"""The smoothest first image: a least-squares problem whose normal equations are solved densely here."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd

SHAPE = (8, 6, 1)


@jax.jit
def _first(problem):
    return rd.solvers.init_smooth(jax.random.key(0), problem, jnp.ones(()), jnp.ones(()))


def _matrix(fn):
    """A linear map of images, as a matrix."""
    unit = np.eye(np.prod(SHAPE)).reshape(-1, *SHAPE)
    return np.stack([np.asarray(fn(jnp.asarray(each, jnp.float32))).ravel() for each in unit], axis=1)


def _slopes(x):
    """Differences of neighbouring pixels."""
    return jnp.concatenate([jnp.diff(x, axis=0).ravel(), jnp.diff(x, axis=1).ravel()])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mask", "blocks", "coils"])
def test_it_solves_the_normal_equations(name, rng):
    operator = {
        "mask": lambda: rd.inpainting(jnp.asarray(rng.uniform(size=SHAPE) < 0.4, float), channels=1),
        "blocks": lambda: rd.super_resolution(SHAPE, 2),
        "coils": lambda: rd.linear_operator(lambda x: jnp.stack([x, 1j * x[::-1]]) @ jnp.full((1, 2), 0.7), SHAPE),
    }[name]()
    y = jnp.asarray(rng.normal(size=operator.out_shape)).astype(jax.eval_shape(operator, jnp.zeros(SHAPE)).dtype)
    x = _first(rd.problem(y, operator, rd.gaussian(0.3)))
    a, gradient = _matrix(operator), _matrix(_slopes)
    normal = np.real(np.conj(a).T @ a) + (0.3 / 0.2) ** 2 * gradient.T @ gradient
    expected = np.linalg.solve(normal, np.real(np.conj(a).T @ np.asarray(y).ravel()))
    np.testing.assert_allclose(x.ravel(), expected, atol=1e-4)  # float32, 60 steps for 48 unknowns


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in ("blocks", "mask", "blur")])
def test_its_derivative_is_that_of_finite_differences_after_convergence(name, rng):
    """In float32, in which squares of the last steps' numbers are 0."""
    shape = (16, 16, 1)
    operator = {
        "mask": lambda: rd.inpainting(jnp.asarray(rng.uniform(size=shape) < 0.4, float), channels=1),
        "blocks": lambda: rd.super_resolution(shape, 2),
        "blur": lambda: rd.blur(np.full((3, 3), 1 / 9), shape),
    }[name]()
    y, direction = (jnp.asarray(rng.normal(size=operator.out_shape), jnp.float32) for _ in range(2))
    weights = jnp.asarray(rng.normal(size=shape), jnp.float32)

    @jax.jit
    def value(y, sigma):
        return jnp.sum(weights * _first(rd.problem(y, operator, rd.gaussian(sigma))))

    of_y, of_sigma = jax.jit(jax.grad(value, argnums=(0, 1)))(y, 0.05)
    # The image is linear in y: differences are exact but for rounding. Of sigma their error is of second order.
    ahead, back = value(y + 0.1 * direction, 0.05), value(y - 0.1 * direction, 0.05)
    np.testing.assert_allclose(jnp.sum(of_y * direction), (ahead - back) / 0.2, rtol=1e-2, atol=1e-2)
    more, less = value(y, 0.0525), value(y, 0.0475)
    np.testing.assert_allclose(of_sigma, (more - less) / 0.005, rtol=5e-2, atol=0.2)


def test_a_hole_in_an_even_picture_is_filled_with_its_colour():
    mask = jnp.ones((32, 32, 1)).at[10:20, 12:22].set(0.0)
    problem = rd.problem(0.6 * jnp.broadcast_to(mask, (32, 32, 3)), rd.inpainting(mask), rd.gaussian(0.0))
    np.testing.assert_allclose(_first(problem), 0.6, atol=1e-3)  # 60 steps


@pytest.mark.parametrize("size", [64, pytest.param(128, marks=pytest.mark.slow)])
def test_all_around_a_small_part_is_filled_with_its_colour(size):
    mask = jnp.zeros((size, size, 1)).at[size // 16 : size * 9 // 16, size // 16 : size * 9 // 16].set(1.0)
    problem = rd.problem(0.6 * jnp.broadcast_to(mask, (size, size, 3)), rd.inpainting(mask), rd.gaussian(0.0))
    # 40 steps without the first 20 would leave the far corner gray, i.e. 0.6 off.
    np.testing.assert_allclose(_first(problem), 0.6, atol=0.05)


def test_where_nothing_is_measured_it_is_gray():
    np.testing.assert_array_equal(_first(rd.unconditional(SHAPE)), 0.0)


def test_a_nonlinear_operator_says_what_to_start_from():
    problem = rd.problem(jnp.zeros(SHAPE), rd.hdr(SHAPE), rd.gaussian(0.1))
    with pytest.raises(TypeError, match="Use init_pinv"):
        _first(problem)
