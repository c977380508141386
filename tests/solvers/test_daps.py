"""DAPS: its updates against NumPy, and what its three parts draw from."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dense import NUM_STEPS, SHAPE, Scene, check_walk

import reddiff_jax as rd
from reddiff_jax.solvers.daps import langevin

NUM_LANGEVIN, NUM_ODE = 4, 3
SETTINGS = {
    "inpainting": (2, {"step_size": 0.3}, lambda r, t: 0.3 / (1 / r**2 + 1 / 0.1**2), 0.1),
    "super_resolution": (
        1,
        {"step_size": 2e-4, "step_rule": rd.solvers.daps_linear, "sigma_y": 0.05},
        lambda r, t: 2e-4 * (0.01 + 0.99 * t / 999),
        0.05,
    ),
}


@pytest.mark.parametrize("task", SETTINGS)
def test_updates_are_the_formulas(task):
    components, options, size, sigma = SETTINGS[task]

    def update(scene, z, x_t, t, s):
        levels = [*(int(np.round(t * (1 - k / NUM_ODE))) for k in range(NUM_ODE)), -1]
        x, r, h = x_t, scene.sigmas[t] / scene.alphas[t], size(scene.sigmas[t] / scene.alphas[t], t)
        for high, low in itertools.pairwise(levels):
            x_hat, eps_hat, _ = scene.estimates(x, high)
            x = scene.ddim(0 * x, x_hat, eps_hat, high, low, eta=0.0)
        x_hat = x
        for noise in z[:-1]:
            score = (x_hat - x) / r**2 + scene.matrix.T @ (scene.y - scene.matrix @ x) / sigma**2
            x = x + h * score + np.sqrt(2 * h) * noise
        return scene.alphas[s] * x + scene.sigmas[s] * z[-1]

    scene = Scene(task, components, sigma_y=0.1)
    scene.z = np.random.default_rng(6).normal(size=(NUM_STEPS, NUM_LANGEVIN + 1, 64))
    counts = {"num_steps": NUM_STEPS, "num_ode": NUM_ODE, "num_langevin": NUM_LANGEVIN}
    check_walk(lambda prior: rd.daps(prior, **counts, **options), scene, update)


def test_langevin_steps_without_noise_end_at_the_mean_of_the_product():
    scene = Scene("super_resolution", components=1, sigma_y=0.1)
    r, sigma, x_hat = 0.5, 0.1, scene.x_start
    with jax.enable_x64(True):
        size = 0.5 * rd.solvers.daps_curvature(jnp.asarray(r), jnp.asarray(sigma), jnp.asarray(1.0))
        z = jnp.zeros((400, *SHAPE))
        x_0 = jax.jit(langevin)(z, jnp.asarray(x_hat.reshape(SHAPE)), r, sigma, size, scene.problem)
    precision = np.eye(64) / r**2 + scene.matrix.T @ scene.matrix / sigma**2
    expected = np.linalg.solve(precision, x_hat / r**2 + scene.matrix.T @ scene.y / sigma**2)
    # The slowest seen direction has shrunk by (1 - 0.048)^400 = 3e-9.
    np.testing.assert_allclose(x_0.ravel(), expected, atol=1e-7)


def test_langevin_steps_have_the_stationary_variance_of_their_size(key):
    shape, r, sigma = (64, 64, 1), 0.4, 0.3
    problem = rd.problem(jnp.zeros(shape), rd.denoising(shape))
    z, curvature = jax.random.normal(key, (60, *shape)), 1 / r**2 + 1 / sigma**2
    x_0 = jax.jit(langevin)(z, jnp.zeros(shape), r, sigma, jnp.asarray(0.5 / curvature), problem)
    # 4096 independent pixels: 4 standard errors. 60 halvings leave nothing of the start.
    np.testing.assert_allclose(np.std(x_0), np.sqrt(1 / curvature / (1 - 0.25)), rtol=4 / np.sqrt(2 * 4096))


@pytest.mark.slow
def test_where_nothing_is_measured_it_draws_from_the_prior(key):
    shape = (64, 64, 1)
    prior = rd.gaussian_prior(jnp.full(shape, 0.3), 0.09, rd.schedules.linear())
    solver = rd.daps(prior, num_steps=50, num_ode=50, num_langevin=2)
    x = rd.run(key, solver, rd.unconditional(shape)).x
    # 4 standard errors of 4096 pixels, and 2 % for the flow's 50 Euler steps.
    np.testing.assert_allclose(np.mean(x), 0.3, atol=4 * 0.3 / 64)
    np.testing.assert_allclose(np.std(x), 0.3, rtol=4 / np.sqrt(2 * 4096) + 0.02)


def _square(x):
    return x[::2] ** 2


@pytest.mark.slow
def test_a_nonlinear_measurement_is_explained_to_its_noise(key):
    prior = rd.gaussian_prior(jnp.full(SHAPE, 0.5), 0.09, rd.schedules.linear())
    operator = rd.operator(_square, SHAPE)
    x = 0.5 + 0.3 * jax.random.normal(jax.random.key(5), SHAPE)
    problem = rd.measure(jax.random.key(6), operator, rd.gaussian(0.1), x)
    solution = rd.run(key, rd.daps(prior, num_steps=50), problem)
    residual = np.sqrt(np.mean(problem.residual(solution.x) ** 2))
    # A posterior sample's residual is about sigma_y = 0.1: 32 entries; the prior's own is 0.5.
    assert 0.05 < residual < 0.15


def test_noise_that_is_not_gaussian_needs_a_level(key):
    prior = rd.gaussian_prior(jnp.zeros(SHAPE), 1.0, rd.schedules.linear())
    problem, counts = rd.problem(jnp.ones(SHAPE), rd.denoising(SHAPE), rd.poisson(30.0)), {"num_steps": 2, "num_ode": 2}
    with pytest.raises(TypeError, match=r"daps needs Gaussian noise.*sigma_y=\.\.\."):
        rd.run(key, rd.daps(prior, **counts), problem)
    assert bool(rd.run(key, rd.daps(prior, sigma_y=0.2, **counts), problem).finite)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step_size": 0.0}, r"step_size is 0\.0"),
        ({"sigma_y": 0.0}, r"sigma_y is 0\.0"),
        ({"num_ode": 0}, "num_ode is 0"),
        ({"num_langevin": 0}, "num_langevin is 0"),
    ],
    ids=["step_size", "sigma_y", "num_ode", "num_langevin"],
)
def test_options_that_make_no_sense_are_an_error(options, message):
    with pytest.raises(ValueError, match=message):
        rd.daps(rd.gaussian_prior(jnp.zeros(SHAPE), 1.0, rd.schedules.linear()), **options)
