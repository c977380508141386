"""What users bring along: a simulation by a partial differential equation as the operator."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from docs_pages import blocks

import reddiff_jax as rd

SHAPE = (12, 12, 1)


_variables = {"jax": jax, "jnp": jnp, "rd": rd}
_page = blocks("docs/guides/operators.md", "python")
exec(next(block for block in _page if "wells =" in block), _variables)
WELLS = _variables["wells"]


def _ground(seed: int) -> jax.Array:
    """Smooth logarithm of the permeability."""
    noise = jax.random.normal(jax.random.key(seed), SHAPE)
    return rd.gaussian_blur(SHAPE, sigma=2.0, size=9)(noise) * 4


def test_the_simulation_is_the_solution_of_its_equation():
    # Against a dense solve, with the same fluxes, in float64; conjugate gradients stop at 1e-6 of the norm.
    size, x = 12, np.asarray(_ground(0), np.float64)[:, :, 0]
    k = np.pad(np.exp(x), 1, mode="edge")
    matrix = np.zeros((size, size, size, size))
    for i, j in np.ndindex(size, size):
        for di, dj in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            face = (k[i + 1, j + 1] + k[i + 1 + di, j + 1 + dj]) / 2
            matrix[i, j, i, j] += face
            if 0 <= i + di < size and 0 <= j + dj < size:
                matrix[i, j, i + di, j + dj] -= face
    u = np.linalg.solve(matrix.reshape(size**2, size**2), np.ones(size**2)).reshape(size, size)
    np.testing.assert_allclose(jax.jit(WELLS)(_ground(0)), u[::2, ::2], rtol=1e-4)


@pytest.mark.slow
def test_red_diff_finds_ground_that_explains_the_wells():
    # The prior knows how smooth the ground is: the covariance of what _ground draws.
    blur = jax.vmap(rd.gaussian_blur(SHAPE, sigma=2.0, size=9))(jnp.eye(144).reshape(144, *SHAPE)).reshape(144, 144) * 4
    prior = rd.gaussian_prior(jnp.zeros(SHAPE), blur.T @ blur, rd.schedules.linear())
    solver = rd.reddiff(prior, optax.adam(0.1, b2=0.99), lam=0.1, num_steps=60, init=rd.solvers.init_zeros)
    keys = jax.random.split(jax.random.key(0), 2)
    truths = jnp.stack([_ground(0), _ground(1)])
    simulate = jax.jit(jax.vmap(rd.measure, in_axes=(0, None, None, 0)))
    problems = simulate(keys, WELLS, rd.gaussian(0.1), truths)
    solutions = jax.jit(jax.vmap(rd.run, in_axes=(0, None, 0)))(keys, solver, problems)
    residual = solutions.info.residual  # (2, num_steps)
    assert (residual[:, -1] < 0.2 * residual[:, 0]).all()
    # Zero is the prior's mean, and 36 wells do not tell 144 values: they must teach more than nothing.
    error, size = (jnp.sqrt(jnp.sum(each**2, axis=(1, 2, 3))) for each in (solutions.x - truths, truths))
    assert (error < size).all()
