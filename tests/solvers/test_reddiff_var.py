"""RED-diff with a learned variance: its gradient against closed forms, its fixed point, the published form."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dense import NUM_STEPS, SHAPE, N, Scene
from scipy.linalg import hadamard

import reddiff_jax as rd
from reddiff_jax import schedules
from reddiff_jax.solvers.reddiff_var import reddiff_var_gradient

SMALL = (4, 4, 1)
SIGMA_Y = 0.2


def _full_gaussian(schedule=None):
    """A prior with a full covariance, and a measurement whose A^T A is not diagonal."""
    rng = np.random.default_rng(3)
    factor = rng.normal(size=(16, 16)) / 5
    mean, covariance = rng.normal(size=16), factor @ factor.T + 0.05 * np.eye(16)
    operator = rd.super_resolution(SMALL, 2)
    matrix = np.asarray(jax.jacobian(operator)(jnp.zeros(SMALL))).reshape(4, 16)
    problem = rd.problem(jnp.asarray(rng.normal(size=(2, 2, 1))), operator, rd.gaussian(SIGMA_Y))
    prior = rd.gaussian_prior(mean.reshape(SMALL), covariance, schedule or schedules.linear())
    return prior, problem, mean, covariance, matrix


@functools.partial(jax.jit, static_argnames="scalar")
def _expected_gradient(prior, problem, mu, s, t, weight, scalar=False):
    """The mean over nodes whose second moments are a normal's: exact where all is quadratic."""
    half = jnp.asarray(hadamard(32).reshape(32, 2, *SMALL), float)
    nodes = jnp.concatenate([half, -half])  # of mean 0, covariance the identity
    s = s[:1, :1] if scalar else s

    def gradient(z):
        return reddiff_var_gradient(z, prior, problem, mu, s, t, weight=weight)

    return jax.tree.map(lambda g: g.mean(0), jax.vmap(gradient)(nodes))


def _objective(mu, s, mean, covariance, matrix, y, alpha, sigma, weight):
    """E_q |A x_0 - y|^2 / 2 + weight KL(q_t || p_t) for Gaussians, flat."""
    data = 0.5 * jnp.sum((matrix @ mu - y) ** 2) + 0.5 * jnp.sum(jnp.diag(matrix.T @ matrix) * s**2)
    v2, noised = alpha**2 * s**2 + sigma**2, alpha**2 * covariance + sigma**2 * jnp.eye(16)
    precision, shift = jnp.linalg.inv(noised), alpha * (mu - mean)
    kl = jnp.sum(jnp.diag(precision) * v2) + shift @ precision @ shift - jnp.sum(jnp.log(v2))
    return data + weight * 0.5 * kl


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("scalar", [False, True], ids=["diagonal", "scalar"])
@pytest.mark.parametrize("t", [0, 300, 900])
def test_the_expected_gradient_is_that_of_the_objective(t, scalar):
    prior, problem, mean, covariance, matrix = _full_gaussian()
    rng = np.random.default_rng(4)
    mu, s = rng.normal(size=16), np.full(16, 0.3) if scalar else rng.uniform(0.05, 0.5, 16)
    alpha, sigma = map(float, prior.schedule(t))
    actual = _expected_gradient(prior, problem, mu.reshape(SMALL), s.reshape(SMALL), t, 0.7, scalar=scalar)
    constants = mean, covariance, matrix, np.asarray(problem.y).ravel(), alpha, sigma, 0.7
    expected = jax.jit(jax.grad(_objective, (0, 1)))(jnp.asarray(mu), jnp.asarray(s), *constants)
    # float64; at t = 900 terms of order 1 cancel to alpha = 0.02 of them.
    np.testing.assert_allclose(actual[0].ravel(), expected[0], atol=1e-10)
    np.testing.assert_allclose(actual[1].ravel(), expected[1].sum(keepdims=True) if scalar else expected[1], atol=1e-10)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("scalar", [False, True], ids=["diagonal", "scalar"])
@pytest.mark.slow
def test_at_the_cleanest_level_the_fixed_point_is_the_best_gaussian_of_its_family(scalar):
    prior, problem, mean, covariance, matrix = _full_gaussian(schedules.ve(sigma_min=1e-4))
    precision = np.linalg.inv(covariance) + matrix.T @ matrix / SIGMA_Y**2
    y = np.asarray(problem.y).ravel()
    mu = np.linalg.solve(precision, np.linalg.solve(covariance, mean) + matrix.T @ y / SIGMA_Y**2)
    variances = np.full(16, 16 / np.trace(precision)) if scalar else 1 / np.diag(precision)
    mu, s = mu.reshape(SMALL), np.sqrt(variances).reshape(SMALL)
    at, off = (_expected_gradient(prior, problem, mu, factor * s, 0, SIGMA_Y**2, scalar=scalar) for factor in (1, 1.1))
    # The level's own noise of 1e-4 moves it by 1e-8 relative to variances of 0.01, to precisions of up to 20.
    for gradient in at:
        np.testing.assert_allclose(gradient, 0 * gradient, atol=1e-4)
    assert np.abs(off[1]).min() > 1e-3


@functools.partial(jax.jit, static_argnames="num")
def _drawn_gradient(prior, problem, mu, s, t, weight, num):
    draws = jax.random.normal(jax.random.key(0), (num, 2, *SMALL))
    grads = jax.vmap(lambda z: reddiff_var_gradient(z, prior, problem, mu, s, t, weight=weight))(draws)
    return grads[1].mean(0)


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_at_a_level_the_fixed_point_of_s_is_where_curvature_and_entropy_meet():
    prior, problem, mean, covariance, matrix = _full_gaussian()
    alpha, sigma = map(float, prior.schedule(20))
    r = sigma / alpha
    precision = np.diag(np.linalg.inv(covariance + r**2 * np.eye(16))) + np.diag(matrix.T @ matrix) / SIGMA_Y**2
    s, mu = np.sqrt(1 / precision - r**2).reshape(SMALL), mean.reshape(SMALL)
    args = prior, problem, jnp.asarray(mu), jnp.asarray(s), 20, SIGMA_Y**2
    np.testing.assert_allclose(_expected_gradient(*args)[1], 0, atol=1e-12)  # float64
    # In units of the entropy's own gradient, the mean over pixels of 256 draws.
    entropy = SIGMA_Y**2 * s / (s**2 + r**2)
    assert abs(np.mean(_drawn_gradient(*args, num=256) / entropy)) < 0.05


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("scalar", [False, True], ids=["diagonal", "scalar"])
def test_descent_at_a_level_ends_at_its_closed_form(scalar):
    prior, problem, mean, covariance, matrix = _full_gaussian()
    t = 80
    alpha, sigma = map(float, prior.schedule(t))
    r2 = (sigma / alpha) ** 2
    weight = SIGMA_Y**2 + r2  # lam is 1

    @jax.jit
    def descend(mu, log_s):
        def step(q, _):
            s = jnp.exp(q[1])
            grad_mu, grad_s = _expected_gradient(prior, problem, q[0], s, t, weight, scalar=scalar)
            # A single s adds up what 16 pixels say.
            return (q[0] - 0.8 * grad_mu, q[1] - 0.8 * s * grad_s / (16 if scalar else 1)), None

        return jax.lax.scan(step, (mu, log_s), length=2000)[0]

    mu, log_s = descend(jnp.zeros(SMALL), jnp.full(SMALL, np.log(0.1)))
    noised, seen = np.linalg.inv(covariance + r2 * np.eye(16)), matrix.T @ matrix / weight
    towards = noised @ mean + matrix.T @ np.ravel(problem.y) / weight
    precisions = np.diag(noised + seen)
    precisions = np.full(16, precisions.mean()) if scalar else precisions
    # float64; curvatures of 0.02 and more leave nothing of the start after 2000 steps of 0.8.
    np.testing.assert_allclose(mu.ravel(), np.linalg.solve(noised + seen, towards), atol=1e-9)
    np.testing.assert_allclose(np.exp(2 * log_s).ravel(), 1 / precisions - r2, atol=1e-9)


@pytest.mark.usefixtures("x64")
@pytest.mark.slow
def test_where_q_is_right_the_gradient_has_no_noise():
    mean, variance, t = jnp.full(SMALL, 0.3), 0.09, 400
    prior = rd.gaussian_prior(mean, variance, schedules.linear())
    z = jax.random.normal(jax.random.key(0), (2, *SMALL))
    gradients = reddiff_var_gradient(z, prior, rd.unconditional(SMALL), mean, jnp.full(SMALL, 0.3), t, weight=1.0)
    np.testing.assert_allclose(gradients, np.zeros((2, *SMALL)), atol=1e-12)  # float64


@pytest.mark.parametrize("diagonal", [True, False], ids=["diagonal", "scalar"])
@pytest.mark.slow
def test_a_run_finds_the_exact_posterior_where_the_family_has_it(diagonal, key):
    shape = (16, 16, 1)
    if diagonal:
        rng = np.random.default_rng(1)
        variances = rng.uniform(0.05, 0.4, shape)
        operator = rd.inpainting(rng.random(shape) > 0.5, channels=1)
    else:
        variances, operator = np.full(shape, 0.2), rd.denoising(shape)
    mean, y = 0.2, 0.5
    prior = rd.gaussian_prior(jnp.full(shape, mean), jnp.asarray(variances, jnp.float32), schedules.linear())
    solver = rd.reddiff_var(prior, diagonal=diagonal)
    problem = rd.problem(operator(jnp.full(shape, y)), operator, rd.gaussian(SIGMA_Y))
    state = rd.run(key, solver, problem).state
    seen = np.asarray(operator.singulars) / SIGMA_Y**2
    precision = 1 / variances + seen
    # Adam's noise under a learning rate that ends at 0.002, in units of the posterior's standard deviation.
    log_ratio = np.log(solver.std(state) * np.sqrt(precision))
    assert abs(log_ratio.mean()) < 0.02
    assert log_ratio.std() < 0.05
    error = (state.mu - (mean / variances + seen * y) / precision) * np.sqrt(precision)
    assert np.sqrt(np.mean(error**2)) < 0.15


def test_levels_fall_evenly_and_stay_at_the_lowest():
    prior = rd.gaussian_prior(jnp.zeros(SMALL), 1.0, schedules.ve(4000, sigma_min=1e-3))
    _, sigmas = prior.schedule(rd.reddiff_var(prior, num_steps=50, sigma_max=2.0, sigma_min=0.02).timesteps)
    expected = 2.0 * 0.01 ** np.minimum(np.arange(50) / 40, 1)
    np.testing.assert_allclose(sigmas, expected, rtol=2e-3)  # neighbouring levels of the schedule: 0.27 %
    assert np.ptp(sigmas[40:]) == 0


def _oracle(scene, noise, timesteps, diagonal):
    """Adam on (mu, log s) with the module's gradients, flat NumPy."""
    mu, rho = scene.pinv @ scene.y, np.full(N if diagonal else 1, np.log(0.1))
    moments = [np.zeros((2, N)), np.zeros((2, rho.size))]
    for k, t in enumerate(timesteps, start=1):
        alpha, sigma, s, (z0, z) = scene.alphas[t], scene.sigmas[t], np.exp(rho), noise[k - 1]
        v = np.sqrt(alpha**2 * s**2 + sigma**2)
        x_t = alpha * (mu + s * z0) + sigma * z
        score_q, score_p = -(x_t - alpha * mu) / v**2, -scene.estimates(x_t, t)[1] / sigma
        difference = (scene.sigma_y**2 + (sigma / alpha) ** 2) * alpha * (score_q - score_p)
        normal = scene.matrix.T @ scene.matrix
        grad_mu = normal @ mu - scene.matrix.T @ scene.y + difference
        grad_s = z0 * (normal @ (s * z0)) + difference * alpha * s / v**2 * (x_t - alpha * mu)
        grad_rho = s * (grad_s if diagonal else grad_s.sum())
        rate = 0.1 * (0.98 * 0.5 * (1 + np.cos(np.pi * (k - 1) / NUM_STEPS)) + 0.02)
        steps = []
        for m, gradient in zip(moments, (grad_mu, grad_rho), strict=True):
            m[0], m[1] = 0.9 * m[0] + 0.1 * gradient, 0.99 * m[1] + 0.01 * gradient**2
            steps.append(rate * m[0] / (1 - 0.9**k) / (np.sqrt(m[1] / (1 - 0.99**k)) + 1e-8))
        mu, rho = mu - steps[0], np.maximum(rho - steps[1], np.log(min(0.1, sigma / alpha / 2)))
    return mu, np.exp(rho)


def _published_oracle(scene, noise, timesteps, first):
    mu, sigma_q = scene.x_start, first
    moments = [np.zeros((2, N)), np.zeros((2, 1))]
    for k, t in enumerate(timesteps, start=1):
        z0, z = noise[k - 1]
        rho = np.log1p(scene.sigmas[t] / scene.alphas[t])
        eta = np.sqrt(1 + sigma_q**2 / rho**2)
        eps_hat = scene.estimates(scene.alphas[t] * (mu + abs(sigma_q) * z0) + scene.sigmas[t] * z, t)[1]
        difference = eps_hat - z / eta
        grad_sigma = 2 * 0.7 * rho * sigma_q / (eta * rho) * np.sum(z * difference)
        steps = []
        for m, gradient in zip(moments, (difference / N, grad_sigma), strict=True):
            m[0], m[1] = 0.9 * m[0] + 0.1 * gradient, 0.99 * m[1] + 0.01 * gradient**2
            steps.append(0.1 * m[0] / (1 - 0.9**k) / (np.sqrt(m[1] / (1 - 0.99**k)) + 1e-8))
        mu, sigma_q = mu - steps[0], sigma_q - steps[1]
    return mu, abs(sigma_q)


def _replay(solver, problem, noise):
    state = solver.init(jax.random.key(0), problem)
    first = np.asarray(state.spread).ravel()
    update = jax.jit(lambda z, state: solver.update(z, state, problem)[0])
    for z in noise:
        state = update(jnp.asarray(z.reshape(2, *SHAPE)), state)
    return np.asarray(state.mu).ravel(), np.asarray(solver.std(state)).ravel(), first


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("task", "components", "diagonal"), [("inpainting", 2, True), ("super_resolution", 1, False)], ids=str
)
def test_20_updates_are_the_formulas(task, components, diagonal):
    scene, noise = Scene(task, components, sigma_y=0.1), np.random.default_rng(7).normal(size=(NUM_STEPS, 2, N))
    solver = rd.reddiff_var(scene.prior, diagonal=diagonal, num_steps=NUM_STEPS)
    mu, s, _ = _replay(solver, scene.problem, noise)
    expected = _oracle(scene, noise, np.asarray(solver.timesteps), diagonal)
    # float64; Adam divides gradients that cancel to 1e-5 by themselves.
    np.testing.assert_allclose(mu, expected[0], atol=1e-8)
    np.testing.assert_allclose(s, np.broadcast_to(expected[1], N), atol=1e-8)


@pytest.mark.usefixtures("x64")
def test_20_published_updates_are_the_published_formulas():
    scene, noise = Scene("inpainting", 1), np.random.default_rng(7).normal(size=(NUM_STEPS, 2, N))
    solver = rd.sds_var(
        scene.prior, lam=0.7, weighting=rd.weightings.log, num_steps=NUM_STEPS, init=rd.solvers.init_given
    )
    nothing = rd.unconditional(SHAPE).replace(init=jnp.asarray(scene.x_start.reshape(SHAPE)))
    mu, s, first = _replay(solver, nothing, noise)
    assert int(solver.timesteps[0]) == 950
    assert 0 < first[0] < 0.5
    expected = _published_oracle(scene, noise, np.asarray(solver.timesteps), first)
    np.testing.assert_allclose(mu, expected[0], atol=1e-8)  # as above
    np.testing.assert_allclose(s, np.broadcast_to(expected[1], N), atol=1e-8)


def test_noise_that_is_not_gaussian_is_an_error_that_names_the_remedy(key):
    prior = rd.gaussian_prior(jnp.zeros(SHAPE), 1.0, schedules.linear())
    problem = rd.problem(jnp.ones(SHAPE), rd.denoising(SHAPE), rd.poisson(30.0))
    with pytest.raises(TypeError, match=r"reddiff_var needs Gaussian noise.*rd\.likelihood"):
        rd.run(key, rd.reddiff_var(prior, num_steps=2), problem)


@pytest.mark.parametrize("factory", [rd.reddiff_var, rd.sds_var])
@pytest.mark.parametrize(("name", "value"), [("lam", -1.0), ("first_std", 0.0)])
def test_options_that_make_no_sense_are_an_error(factory, name, value):
    with pytest.raises(ValueError, match=f"{name} is {value}"):
        factory(rd.gaussian_prior(jnp.zeros(SHAPE), 1.0, schedules.linear()), **{name: value})
