"""Carried noise: what it is at both ends, its stationary variance, and that its state resumes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd
from reddiff_jax import schedules
from reddiff_jax.solvers import GridLevels, descending

SHAPE = (6, 6, 1)
SCHEDULE = schedules.linear()
PRIOR = rd.gaussian_prior(jnp.full(SHAPE, 0.1), jnp.full(SHAPE, 0.3), SCHEDULE)
NOISY = rd.problem(jnp.linspace(-1, 1, 36).reshape(SHAPE), rd.denoising(SHAPE), rd.gaussian(0.3))


def _solver(share=None, **options):
    noise = None if share is None else rd.solvers.carried_noise(share)
    defaults = {"control_variate": rd.solvers.variate_published, "num_steps": 8, "init": rd.solvers.init_zeros}
    return rd.noise_aware(PRIOR, noise=noise, **defaults | options)


def test_with_all_noise_fresh_it_is_the_run_without_a_source(key):
    np.testing.assert_array_equal(rd.run(key, _solver(1.0), NOISY).x, rd.run(key, _solver(), NOISY).x)


@pytest.mark.slow
def test_with_no_noise_fresh_and_nothing_measured_it_is_ddim(key):
    timesteps = SCHEDULE.timesteps(8)
    problem = rd.unconditional(SHAPE)
    solver = _solver(0.0).replace(levels=GridLevels(timesteps[:, None], descending))
    state = solver.init(key, problem)
    alpha_t, sigma_t = SCHEDULE(timesteps[0])
    sampler = rd.ddim(PRIOR, num_steps=8, eta=0.0)
    expected = sampler.init(key, problem)
    expected = expected.replace(x_t=alpha_t * state.mu + sigma_t * state.eps_last)
    for step in range(8):
        state, _ = solver.step(jax.random.fold_in(key, step), state, problem)
        expected, _ = sampler.step(jax.random.fold_in(key, step), expected, problem)
    np.testing.assert_allclose(solver.estimate(state), sampler.estimate(expected), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.3, 0.8, 1.0])
def test_the_stationary_variance_is_in_closed_form(share, key):
    shape, variance = (64, 64, 1), 0.3
    prior = rd.gaussian_prior(jnp.zeros(shape), jnp.full(shape, variance), SCHEDULE)
    steps = 300
    solver = rd.noise_aware(
        prior,
        noise=rd.solvers.carried_noise(share),
        control_variate=rd.solvers.variate_published,
        init=rd.solvers.init_zeros,
    ).replace(levels=GridLevels(jnp.full((steps, 1), 150), descending))
    runs = rd.run(key, solver, rd.unconditional(shape), record=lambda state, info: jnp.mean(state.mu**2))
    alpha_t, sigma_t = SCHEDULE(150)
    r2 = float(sigma_t / alpha_t) ** 2
    j = variance / (variance + r2)
    q = j + np.sqrt(1 - share) * (1 - j)
    expected = j**2 * r2 * share / (1 - q**2)
    # 4096 pixels over 250 steps that are correlated over less than 20: a deviation of about 0.7 %.
    assert float(np.mean(runs.record[50:])) == pytest.approx(expected, rel=0.02)


def test_a_resumed_run_has_the_same_bits(key):
    solver = _solver(0.7)
    whole = rd.run(key, solver, NOISY)
    half = rd.run(key, solver, NOISY, num_steps=3)
    np.testing.assert_array_equal(rd.run(key, solver, NOISY, state=half.state, num_steps=5).x, whole.x)


def test_an_item_does_not_depend_on_its_batch(key):
    keys = jax.random.split(key, 3)
    batch = jax.vmap(rd.run, in_axes=(0, None, None))(keys, _solver(0.7), NOISY).x
    # vmap may sum in another order.
    np.testing.assert_allclose(batch[1], rd.run(keys[1], _solver(0.7), NOISY).x, atol=1e-5)


def test_another_control_variate_is_an_error_that_names_the_remedy():
    with pytest.raises(ValueError, match=r"control_variate=rd\.solvers\.variate_published"):
        rd.noise_aware(PRIOR, noise=rd.solvers.carried_noise(0.8))


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_shares_beyond_0_and_1_are_refused(share):
    with pytest.raises(ValueError, match="share is"):
        rd.solvers.carried_noise(share)
