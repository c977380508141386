"""Particles that repel each other: the update against NumPy, and what must not change."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import reddiff_jax as rd
from reddiff_jax.repulsion import pixels

SHAPE, P, VARIANCE = (4, 3, 1), 3, 0.25
SCHEDULE = rd.schedules.linear()


@functools.cache
def _prior():
    return rd.gaussian_prior(jnp.full(SHAPE, 0.1), VARIANCE, SCHEDULE)


def _problem(i=0):
    mask = np.random.default_rng(i).random(SHAPE[:2]) > 0.4
    return rd.problem(jnp.full(SHAPE, 0.3 * i), rd.inpainting(mask, channels=1), rd.gaussian(0.1))


def _images(seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(P, *SHAPE)), jnp.float32)


def _numpy_repulsion(xs, r, features=lambda x: x, jacobian=None):
    """n times the gradient of log sum_j exp(-mean (g_i - g_j)^2 / h) at each particle, by hand."""
    xs = np.asarray(xs, float).reshape(P, -1)
    n, gs = xs.shape[1], np.stack([features(x) for x in xs])
    pairs = [(i, j) for i in range(P) for j in range(i + 1, P)]
    medians = [np.median([np.mean((a[i] - a[j]) ** 2) for i, j in pairs]) for a in (gs, xs)]
    width = medians[0] / np.log(P) + 2 * r**2 * medians[0] / medians[1]
    pushes = []
    for i in range(P):
        kernel = np.exp(-np.mean((gs[i] - gs) ** 2, axis=1) / width)
        slope = -2 * (gs[i] - gs) / gs.shape[1] / width  # of the exponent, in features
        toward = (kernel[:, None] * slope).sum(axis=0) / kernel.sum()
        pushes.append(n * (toward if jacobian is None else toward @ jacobian))
    return np.stack(pushes)


@functools.partial(jax.jit, static_argnames="features")
def _vmapped(xs, r, features):
    return jax.vmap(lambda x: rd.repulsion.repulsion(x, xs, r, features))(xs)


def _repulsions(xs, r, features=pixels):
    return np.asarray(_vmapped(xs, r, features)).reshape(P, -1)


def _half_means(x):
    return 0.5 * x.reshape(-1)[:6] + 0.5 * x.reshape(-1)[6:]


@pytest.mark.parametrize("r", [0.0, 0.8])
def test_the_repulsion_is_the_gradient_of_the_kernels_density(r):
    xs = _images()
    np.testing.assert_allclose(_repulsions(xs, r), _numpy_repulsion(xs, r), rtol=1e-4, atol=1e-5)  # float32


def test_features_say_what_is_compared():
    xs, jacobian = _images(), np.kron([0.5, 0.5], np.eye(6))
    expected = _numpy_repulsion(xs, 0.3, lambda x: jacobian @ x, jacobian)
    np.testing.assert_allclose(_repulsions(xs, 0.3, features=_half_means), expected, rtol=1e-4, atol=1e-5)  # float32


def test_particles_that_are_one_stay_finite():
    same = jnp.zeros((P, *SHAPE), jnp.float32)
    assert np.array_equal(_repulsions(same, 0.0), same.reshape(P, -1))


def _reddiff():
    return rd.reddiff(_prior(), optax.sgd(0.1), lam=0.5, num_steps=8, init=rd.solvers.init_noise)


@pytest.mark.slow
def test_a_step_is_the_paper_s_with_the_repulsion_beside_the_score():
    solver, problem, key = rd.repulsive(_reddiff(), P, weight=1.5), _problem(1), jax.random.key(3)
    state = jax.jit(solver.init)(jax.random.key(2), problem)
    after, _ = jax.jit(solver.step)(key, state, problem)
    xs = np.asarray(solver.estimate(state), float).reshape(P, -1)
    alpha_t, sigma_t = (float(scale) for scale in SCHEDULE(999))
    r, mask = sigma_t / alpha_t, np.asarray(problem.operator.mask, float).ravel()
    # RED-diff's own noise for the key of each particle.
    eps = np.stack([jax.random.normal(jax.random.split(k, 3)[1], (1, *SHAPE)).ravel() for k in solver.keys(key)])
    eps_hat = sigma_t * (alpha_t * xs + sigma_t * eps - alpha_t * 0.1) / (alpha_t**2 * VARIANCE + sigma_t**2)
    eps_hat = eps_hat + 1.5 * r * _numpy_repulsion(xs, r)
    grad = mask * (mask * xs - np.asarray(problem.y, float).ravel()) + 0.5 * r * (eps_hat - eps)
    # float32, of terms of size r = 158 that cancel.
    np.testing.assert_allclose(solver.estimate(after).reshape(P, -1), xs - 0.1 * grad, rtol=2e-3, atol=2e-3)


@functools.cache
def _independent():
    """RED-diff of each particle alone, with the keys that the particles have."""
    base, problem, key = _reddiff(), _problem(1), jax.random.key(5)
    solver = rd.repulsive(base, P, weight=0.0)
    step = jax.jit(jax.vmap(base.step, in_axes=(0, 0, None)))
    states = jax.jit(jax.vmap(base.init, in_axes=(0, None)))(solver.keys(jax.random.fold_in(key, 0)), problem)
    for k in range(base.num_steps):
        states, _ = step(solver.keys(jax.random.fold_in(key, k + 1)), states, problem)
    return solver, problem, key, states.mu


@pytest.mark.slow
def test_without_weight_particles_are_independent_runs_bit_for_bit():
    solver, problem, key, expected = _independent()
    assert np.array_equal(rd.run(key, solver, problem).x, expected)


@pytest.mark.slow
def test_with_weight_particles_are_further_apart():
    solver, problem, key, _ = _independent()
    runs = [rd.run(key, solver.replace(weight=weight), problem) for weight in (0.0, 1.0)]
    apart = [float(run.x.std(axis=0).mean()) for run in runs]
    assert apart[1] > 1.1 * apart[0]
    assert float(runs[1].info.distance[0]) == pytest.approx(np.sqrt(2), rel=0.5)  # noise


@pytest.mark.slow
def test_particles_of_other_problems_are_not_seen():
    solver, problem, key, _ = _independent()
    keys, problems = jax.random.split(key, 2), rd.stack([problem, _problem(2)])
    solver = solver.replace(weight=jnp.asarray(1.0))
    batch = jax.vmap(rd.run, in_axes=(0, None, 0))(keys, solver, problems)
    single = rd.run(keys[0], solver, problem)
    assert batch.x.shape == (2, P, *SHAPE)
    # float32 rounding, at levels up to r = 158.
    np.testing.assert_allclose(batch.x[0], single.x, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("make", [rd.noise_aware, rd.dps, rd.ddim], ids=lambda make: make.__name__)
def test_any_solver_with_a_prior_has_particles_and_resumes(make):
    solver, problem, key = rd.repulsive(make(_prior(), num_steps=6), P), _problem(1), jax.random.key(0)
    whole = rd.run(key, solver, problem)
    assert whole.x.shape == (P, *SHAPE)
    assert bool(whole.finite)
    first = rd.run(key, solver, problem, num_steps=4)
    rest = rd.run(key, solver, problem, num_steps=2, state=first.state)
    assert np.array_equal(rest.x, whole.x)


def _scaled(gain, x):
    return gain * x


@pytest.mark.slow
def test_a_common_factor_of_features_with_weights_changes_nothing():
    problem, key = _problem(1), jax.random.key(0)
    solver = rd.repulsive(_reddiff(), P, features=jax.tree_util.Partial(_scaled, jnp.asarray(2.0)))
    x, expected = (rd.run(key, each, problem).x for each in (solver, rd.repulsive(_reddiff(), P)))
    np.testing.assert_allclose(x, expected, atol=1e-3)  # float32 rounding, at levels up to r = 158


def test_bad_use_is_an_error_that_says_what_to_do():
    with pytest.raises(ValueError, match="A single one is the solver itself"):
        rd.repulsive(_reddiff(), 1)
    with pytest.raises(ValueError, match="weight is -1"):
        rd.repulsive(_reddiff(), weight=-1)
    with pytest.raises(TypeError, match="Repulsive has none"):
        rd.repulsive(rd.repulsive(_reddiff()))
