"""Where the samplers without a derivative are exact: independent pixels, of which some are measured without noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd

SHAPE = (4, 4, 1)

SOLVERS = {
    "ddrm": lambda prior: rd.ddrm(prior, eta=0.0, num_steps=1000),
    "ddnm": lambda prior: rd.ddnm(prior, eta=0.0, num_steps=1000),
    "mcg": lambda prior: rd.mcg(prior, eta=0.0, num_steps=1000, init=rd.solvers.init_zeros),
    "diffpir": lambda prior: rd.diffpir(prior, zeta=0.0, num_steps=1000),
}


@pytest.mark.slow
@pytest.mark.parametrize("make", SOLVERS.values(), ids=SOLVERS)
def test_a_noiseless_mask_and_independent_pixels_leave_y_and_the_prior(make):
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        mean, variances = rng.normal(0, 0.5, SHAPE), rng.uniform(0.05, 1, SHAPE)
        mask, y = rng.random(SHAPE) > 0.5, rng.normal(size=SHAPE)
        prior = rd.gaussian_prior(jnp.asarray(mean), jnp.asarray(variances), rd.schedules.linear())
        problem = rd.problem(jnp.asarray(mask * y), rd.inpainting(jnp.asarray(mask), channels=1))
        solver = make(prior)

        @jax.jit
        @jax.vmap
        def flow(z):
            def step(x_t, k):
                return solver.update(jnp.zeros(SHAPE), x_t, *solver.levels(k), problem)[0], None

            x_t = solver.first_x_t(z, jnp.zeros(SHAPE), problem)
            return jax.lax.scan(step, x_t, jnp.arange(solver.num_steps))[0]

        shift, shifted = np.asarray(flow(jnp.stack([jnp.zeros(SHAPE), jnp.ones(SHAPE)])))
    np.testing.assert_allclose(shift[mask], y[mask], atol=1e-9)  # float64
    np.testing.assert_allclose(shifted[mask], y[mask], atol=1e-9)
    # What is not seen is affine in its own noise: Euler's error at 1000 steps, and alpha_T = 0.006 of the mean.
    np.testing.assert_allclose(shift[~mask], mean[~mask], atol=0.02)
    np.testing.assert_allclose((shifted - shift)[~mask] ** 2, variances[~mask], rtol=0.02, atol=0.005)
