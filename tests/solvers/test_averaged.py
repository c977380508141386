"""The mean of runs: what it is made of, what it buys on a Gaussian, and that it goes wherever a solver goes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd
from reddiff_jax import tasks
from reddiff_jax.settings import default_settings

SHAPE, VARIANCE, SIGMA_Y = (8, 6, 1), 0.25, 0.2


@functools.cache
def _prior():
    return rd.gaussian_prior(jnp.full(SHAPE, 0.1), VARIANCE, rd.schedules.linear())


def _problem(i=1):
    mask = np.random.default_rng(i).random(SHAPE[:2]) > 0.5
    return rd.problem(jnp.full(SHAPE, 0.3 * i), rd.inpainting(mask, channels=1), rd.gaussian(SIGMA_Y))


def _posterior_mean(problem):
    """In closed form: pixels are independent."""
    mask = np.asarray(problem.operator.mask, float)
    precision = mask / SIGMA_Y**2 + 1 / VARIANCE
    return (mask * np.asarray(problem.y, float) / SIGMA_Y**2 + 0.1 / VARIANCE) / precision


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [rd.noise_aware, *(pytest.param(make, marks=pytest.mark.slow) for make in (rd.reddiff, rd.ddrm))],
    ids=lambda make: make.__name__,
)
def test_it_is_the_mean_of_runs_of_their_own_keys(make):
    base, problem, key = make(_prior(), num_steps=4), _problem(), jax.random.key(5)
    solver = rd.averaged(base, 3)
    step = jax.jit(jax.vmap(base.step, in_axes=(0, 0, None)))
    states = jax.jit(jax.vmap(base.init, in_axes=(0, None)))(solver.keys(jax.random.fold_in(key, 0)), problem)
    for k in range(base.num_steps):
        states, _ = step(solver.keys(jax.random.fold_in(key, k + 1)), states, problem)
    xs = jax.vmap(base.estimate)(states)
    assert not np.array_equal(xs[0], xs[1])
    np.testing.assert_allclose(rd.run(key, solver, problem).x, np.mean(xs, axis=0), atol=1e-6)  # float32


@pytest.mark.slow
def test_the_mean_of_posterior_samples_has_a_kth_of_their_squared_error():
    """Of n = 48 pixels, 64 measurements' keys: the ratio's standard error is below 5 %."""
    problem = _problem()
    keys = jax.random.split(jax.random.key(0), 64)
    errors = []
    for solver in (base := rd.noise_aware(_prior(), sample=True, num_steps=100), rd.averaged(base, 8)):
        xs = jax.vmap(rd.run, in_axes=(0, None, None))(keys, solver, problem).x
        errors.append(float(np.mean((np.asarray(xs, float) - _posterior_mean(problem)) ** 2)))
    assert errors[0] / errors[1] == pytest.approx(8, rel=0.15)


@pytest.mark.slow
def test_a_run_resumes_and_a_batch_is_of_different_problems():
    solver, keys = rd.averaged(rd.noise_aware(_prior(), num_steps=6), 3), jax.random.split(jax.random.key(1), 2)
    problems = [_problem(1), _problem(2)]
    whole = rd.run(keys[0], solver, problems[0])
    first = rd.run(keys[0], solver, problems[0], num_steps=4)
    assert np.array_equal(rd.run(keys[0], solver, problems[0], num_steps=2, state=first.state).x, whole.x)
    assert whole.x.shape == SHAPE
    assert whole.info.residual.shape == (6,)
    batch = jax.vmap(rd.run, in_axes=(0, None, 0))(keys, solver, rd.stack(problems))
    np.testing.assert_allclose(batch.x[0], whole.x, atol=1e-5)  # float32


def test_no_runs_are_an_error():
    with pytest.raises(ValueError, match="num_runs is 0 but must be at least 1"):
        rd.averaged(rd.noise_aware(_prior()), 0)


# ---- as the command line has it


def test_the_settings_average_points_and_make_one_run_of_a_sample():
    settings = default_settings(tasks.example("sr4"), "noise_aware")
    solver = settings.solver(_prior())
    assert isinstance(solver, rd.solvers.Averaged)
    assert solver.num_runs * solver.num_steps == settings.num_evaluations == 100
    sample = settings.changed({"sample": True})
    assert isinstance(sample.solver(_prior()), rd.solvers.RedDiff)
    assert sample.num_evaluations == sample.num_steps == 100
    assert sample.lam == 1
    denoising = default_settings(tasks.example("denoise"), "noise_aware")
    assert [denoising.changed({"sample": True, **more}).sigma_max for more in ({}, {"sigma_max": 9.0})] == [0.5, 9]
    assert (denoising.init, denoising.changed({"sample": True}).init) == ("pinv", "smooth")
    assert (denoising.sigma_min, denoising.changed({"sample": True}).sigma_min) == (0.01, 0.02)
    mean = settings.changed({"sample": True, "num_runs": 8})
    assert (mean.num_runs, mean.num_steps) == (8, 100)
    assert [settings.spending(n).num_runs for n in (10, 50, 100, 1000)] == [1, 2, 4, 40]
    mixed = default_settings(tasks.example("cs4"), "noise_aware")
    assert [(mixed.spending(n).num_steps, mixed.spending(n).num_runs) for n in (20, 50, 1000)] == [
        (20, 1),
        (50, 1),
        (50, 20),
    ]


def test_what_is_cut_off_is_restored_by_short_runs_from_the_middle_of_what_it_may_be():
    settings = default_settings(tasks.example("hdr"), "noise_aware")
    assert (settings.num_steps, settings.num_runs, settings.init) == (25, 4, "middle")
