"""Repeated runs: the best is the one that explains the measurement best; single runs, batches, failures; means."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd

SHAPE = (6, 6, 1)
PRIOR = rd.gaussian_prior(jnp.zeros(SHAPE), 0.25, rd.schedules.linear())
SOLVER = rd.reddiff(PRIOR, num_steps=40, init=rd.solvers.init_noise)


def _problem(i: int) -> rd.Problem:
    key_x, key_y = jax.random.split(jax.random.key(i))
    x = jnp.tanh(0.5 * jax.random.normal(key_x, SHAPE))
    return rd.measure(key_y, rd.phase_retrieval(SHAPE), rd.gaussian(), x)


@pytest.fixture(scope="module")
def solved():
    return rd.best_of(jax.random.key(0), SOLVER, _problem(0), 5)


@pytest.mark.slow
def test_the_restart_with_the_smallest_residual_is_returned(solved):
    solution, residuals = solved
    assert residuals.shape == (5,)
    root_mean_square = jnp.sqrt(jnp.mean(_problem(0).residual(solution.x) ** 2))
    np.testing.assert_allclose(root_mean_square, residuals.min(), rtol=1e-4)  # float32, eager against compiled
    assert residuals.min() < 0.9 * residuals.max()


def test_each_restart_is_a_run_of_its_own_key(solved):
    solution, residuals = solved
    i = int(residuals.argmin())
    single = rd.run(jax.random.fold_in(jax.random.key(0), i), SOLVER, _problem(0))
    # 40 steps of a nonconvex descent, rounded in another order.
    np.testing.assert_allclose(solution.x, single.x, atol=1e-3)


def test_a_batch_of_problems_equals_a_loop(solved):
    keys = jnp.stack([jax.random.key(0), jax.random.key(7)])
    batched = jax.jit(jax.vmap(lambda key, problem: rd.best_of(key, SOLVER, problem, 5)))
    solutions, residuals = batched(keys, rd.stack([_problem(0), _problem(1)]))
    # As above.
    np.testing.assert_allclose(residuals[0], solved[1], atol=1e-3)
    np.testing.assert_allclose(solutions.x[0], solved[0].x, atol=1e-3)


def _init_nan_or_noise(key, problem, alpha_t, sigma_t):
    noise = jax.random.normal(key, problem.operator.in_shape)
    return jnp.where(jax.random.bernoulli(jax.random.fold_in(key, 1)), jnp.nan, noise)


def test_restarts_that_are_not_finite_come_last():
    solver = rd.reddiff(PRIOR, num_steps=2, init=_init_nan_or_noise)
    solution, residuals = rd.best_of(jax.random.key(0), solver, _problem(0), 8)
    assert jnp.isinf(residuals).any()
    assert not jnp.isnan(residuals).any()
    assert solution.finite


def test_no_restart_at_all_is_refused():
    with pytest.raises(ValueError, match="num_restarts is 0"):
        rd.best_of(jax.random.key(0), SOLVER, _problem(0), 0)


# ---- mean_of


@pytest.mark.slow
def test_the_mean_is_that_of_runs_of_their_own_keys():
    key = jax.random.key(3)
    mean, std = rd.mean_of(key, SOLVER, _problem(0), 3)
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(3))
    xs = jax.vmap(rd.run, in_axes=(0, None, None))(keys, SOLVER, _problem(0)).x
    # As above: another program rounds in another order.
    np.testing.assert_allclose(mean, np.mean(xs, axis=0), atol=1e-3)
    np.testing.assert_allclose(std, np.std(xs, axis=0, ddof=1), atol=1e-3)
    assert std.max() > 0.01


def test_a_mean_of_one_is_refused():
    with pytest.raises(ValueError, match=r"num_runs is 1 .*rd\.run"):
        rd.mean_of(jax.random.key(0), SOLVER, _problem(0), 1)
