"""Conjugate gradients: what they find, and how that depends on what they are given."""

import jax
import jax.numpy as jnp
import numpy as np

from reddiff_jax._conjugate_gradients import _quotient, conjugate_gradients

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
