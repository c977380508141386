"""Conjugate gradients: what they find, and how that depends on what they are given."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reddiff_jax._conjugate_gradients import _quotient, conjugate_gradients, least_squares

VALUES = jnp.array([1.0, 2.0, 5.0])
B = jnp.array([1.0, -2.0, 0.5])


@jax.jit
def _solution(values, b):
    return conjugate_gradients(lambda v: values * v, b, 8)


def test_the_derivative_is_that_of_the_solution_where_squares_are_too_small():
    """b / values; in float32 1e-11^4 is 0."""
    found = jax.jit(jax.jacobian(_solution, argnums=(0, 1)))(VALUES, 1e-11 * B)
    np.testing.assert_allclose(found[0], np.diag(-1e-11 * B / VALUES**2), atol=1e-14)
    # Of the last steps nothing but rounding is left, on which b depends.
    np.testing.assert_allclose(found[1], np.diag(1 / VALUES), atol=1e-2)


def test_the_quotient_has_all_bits_of_a_division(rng):
    b = jnp.asarray(np.exp(rng.normal(scale=15, size=1000)), jnp.float32)
    np.testing.assert_array_equal(_quotient(B[0], b, b > 0), B[0] / b)


def _orthonormal(rng, rows):
    return np.linalg.qr(rng.normal(size=(16, 16)))[0][:rows]


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.0, 1.0], ids=["explained", "unexplained"])
@pytest.mark.parametrize(
    "make",
    [
        lambda rng: 0.5 * _orthonormal(rng, 8),
        lambda rng: (lambda rows: rows.T @ rows)(_orthonormal(rng, 4)),
        lambda rng: rng.normal(size=(16, 4)) @ rng.normal(size=(4, 16)),
        lambda rng: np.diag(rng.choice([0.0, 1.0, 2.0], 16)),
    ],
    ids=["orthonormal_rows", "equal_values_and_a_null_space", "low_rank", "two_values_and_a_null_space"],
)
def test_thirty_steps_give_the_solution_of_smallest_norm(make, noise, rng):
    """Rounding in the null space, where nothing holds it, must not grow step by step."""
    matrix = make(rng)
    y = matrix @ rng.normal(size=16) + noise * rng.normal(size=len(matrix))
    a = jnp.asarray(matrix, jnp.float32)
    found = least_squares(lambda x: a @ x, lambda y: a.T @ y, jnp.asarray(y, jnp.float32), 30)
    expected = np.linalg.pinv(matrix) @ y
    # float32, times the condition number of the normal equations, which is some tens for the random factors
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
