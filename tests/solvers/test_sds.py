"""Score distillation: its updates against NumPy, and the mode that it ends in."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from dense import NUM_STEPS, SHAPE, N, Scene

import reddiff_jax as rd

NOTHING = rd.unconditional(SHAPE)


def _adam(gradients_of, x, scale):
    m = v = 0.0
    for k, gradient_of in enumerate(gradients_of, start=1):
        gradient = scale * gradient_of(x)
        m, v = 0.9 * m + 0.1 * gradient, 0.99 * v + 0.01 * gradient**2
        x = x - 0.1 * (m / (1 - 0.9**k)) / (np.sqrt(v / (1 - 0.99**k)) + 1e-8)
    return x


def _published(prior, **options):
    return rd.reddiff_published(prior, obs_weight=0.0, **options)


@pytest.mark.parametrize(("components", "make"), [(2, rd.sds), (1, _published)], ids=["mixture", "published"])
def test_20_updates_are_the_formula(components, make):
    scene = Scene("inpainting", components)
    with jax.enable_x64(True):
        solver = make(scene.prior, lam=0.7, num_steps=NUM_STEPS, init=rd.solvers.init_given)
        state = solver.init(jax.random.key(0), NOTHING.replace(init=jnp.asarray(scene.x_start.reshape(SHAPE))))
        update = jax.jit(lambda eps, t, state: solver.update(eps, t, state, NOTHING)[0])
        for z, t in zip(scene.z, solver.levels.timesteps, strict=True):
            state = update(z.reshape(1, *SHAPE), t, state)

    def gradient_of(z, t):
        alpha, sigma = scene.alphas[t], scene.sigmas[t]
        return lambda mu: 0.7 * sigma / alpha * (scene.estimates(alpha * mu + sigma * z, t)[1] - z)

    gradients = [gradient_of(z, int(t[0])) for z, t in zip(scene.z, solver.levels.timesteps, strict=True)]
    expected = _adam(gradients, scene.x_start, 1 / N if make is _published else 1.0)
    # float64; Adam divides gradients that cancel to 1e-5 by themselves.
    np.testing.assert_allclose(state.mu.ravel(), expected, atol=1e-8)


def test_it_ends_at_the_mean_of_a_gaussian_whatever_was_measured(key):
    prior = rd.gaussian_prior(jnp.full(SHAPE, 0.4), 0.25, rd.schedules.linear())
    solver = rd.sds(prior, optax.adam(optax.cosine_decay_schedule(0.1, 1000), b2=0.99))
    x = rd.run(key, solver, NOTHING).x
    # Steps that end at 0 average the noise out; samples would have a standard deviation of 0.5.
    np.testing.assert_allclose(np.mean(x), 0.4, atol=0.05)
    assert np.std(x) < 0.1
    assert np.array_equal(rd.run(key, solver, NOTHING.replace(y=NOTHING.y + 1)).x, x)
