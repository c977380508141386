"""Noise-aware RED-diff against closed forms: its update, its weights, its fixed points, its samples' spread.

Priors are analytic. The expensive tests use three: a Gaussian field of power 1/f^2, whose posteriors are known exactly;
independent spike-and-slab Haar coefficients; and a mixture of 25 Gaussians.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import OPERATORS

import reddiff_jax as rd
from reddiff_jax import operators as ops
from reddiff_jax import schedules
from reddiff_jax.pictures import ROUNDING_SIGMA
from reddiff_jax.solvers import NoiseAwareWeight, _steps
from reddiff_jax.solvers._levels import Scene
from reddiff_jax.solvers._proximal import proximal
from reddiff_jax.solvers._variational import prior_term
from reddiff_jax.solvers._weights import snr_weight
from reddiff_jax.solvers.perturb_and_optimise import Anchored

SMALL = (4, 4, 1)
SCHEDULE = schedules.linear()
_ADAM = _steps.decayed_adam(100)
runs = jax.jit(jax.vmap(rd.run, in_axes=(0, None, 0)))


def _ratio(t):
    alpha_t, sigma_t = SCHEDULE(t)
    return sigma_t / alpha_t


def _small(seed=3):
    """A prior with a full covariance, its mean and covariance (flat), and noise z."""
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(16, 16)) / 5
    mean, covariance = rng.normal(size=16), factor @ factor.T + 0.05 * np.eye(16)
    prior = rd.gaussian_prior(mean.reshape(SMALL), covariance, schedules.linear())
    return prior, mean, covariance, jnp.asarray(rng.normal(size=SMALL))


# What suits exact priors, where more steps come nearer to the mode.
EXACT = {"lam": 1.0, "sigma_max": 3.0, "num_steps": 100, "init": rd.solvers.init_pinv}


def _noise_aware(prior, *step, **options):
    return rd.noise_aware(prior, *step, **EXACT | options)


def _pull(z, prior, mu, t, **options):
    return prior_term(z, prior, mu, t, snr_weight(1.0, rd.weightings.linear), **options)[0]


# ---- 1, 2: the pull and its control variates


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("variate", [rd.solvers.variate_published, rd.solvers.variate_none])
def test_the_expected_pull_is_the_gradient_of_the_blurred_priors_kl(variate):
    prior, mean, covariance, z = _small()
    mu = jnp.asarray(np.random.default_rng(4).normal(size=SMALL))
    r = float(prior.schedule(300)[1] / prior.schedule(300)[0])
    pulls = [_pull(sign * z, prior, mu, 300, control_variate=variate) for sign in (1, -1)]
    expected = r**2 * np.linalg.solve(covariance + r**2 * np.eye(16), np.ravel(mu) - mean)
    # float64: the antithetic pair cancels what is odd in z.
    np.testing.assert_allclose(np.ravel(pulls[0] + pulls[1]) / 2, expected, atol=1e-10)


@functools.partial(jax.jit, static_argnums=0)
def _pulls(variate, z, prior, mu):
    return jax.vmap(lambda z: _pull(z, prior, mu, 200, control_variate=variate))(z)


@functools.cache
def _drawn_pulls(variate):
    shape, variance = (16, 16, 1), 0.09
    prior = rd.gaussian_prior(jnp.zeros(shape), variance, SCHEDULE)
    z = jax.random.normal(jax.random.key(0), (4096, *shape))
    return np.asarray(_pulls(variate, z, prior, jnp.full(shape, 0.7)), float), z, float(_ratio(200)), variance


@pytest.mark.slow
def test_the_projected_pull_is_orthogonal_to_the_noise():
    pulls, z, r, variance = _drawn_pulls(rd.solvers.variate_projected)
    inner, squares = np.sum(pulls * z, axis=(1, 2, 3)), np.sum(np.asarray(z, float) ** 2, axis=(1, 2, 3))
    np.testing.assert_array_less(np.abs(inner), 1e-5 * squares)
    expected = r**2 * 0.7 / (variance + r**2)
    distance = np.sqrt(np.mean((pulls - expected) ** 2, axis=(1, 2, 3)))
    # What is missing is the projection of a constant image on z, a normal number of mean square 1 / n.
    np.testing.assert_array_less(distance, 5 / np.sqrt(256) * expected)


@pytest.mark.slow
def test_the_projected_pull_has_the_mean_of_the_published_one():
    projected, published = (
        _drawn_pulls(variate)[0] for variate in (rd.solvers.variate_projected, rd.solvers.variate_published)
    )
    error = np.sqrt(projected.var() / 4096 + published.var() / 4096 / projected[0].size)
    difference = projected.mean() - published.mean()
    # Its bias is 1 / n of the pull, taken off here.
    assert abs(difference + published.mean() / 256) < 4 * error


@pytest.mark.slow
@pytest.mark.parametrize(("variate", "c"), [(rd.solvers.variate_published, 1.0), (rd.solvers.variate_none, 0.0)])
def test_the_noise_of_the_pull_is_what_the_variate_leaves(variate, c):
    pulls, _, r, variance = _drawn_pulls(variate)
    left = r * (r**2 / (variance + r**2) - c)
    np.testing.assert_allclose(pulls.var(axis=0).mean(), left**2, rtol=0.05)


# ---- 3, 7, 8: the proximal step


def _exact_variate(eps_hat, z):
    """c of the tests' isotropic prior at timestep 60, which leaves no noise."""
    r2 = _ratio(60) ** 2
    return r2 / (0.25 + r2)


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_at_a_fixed_level_the_fixed_point_is_the_mode_of_the_posterior():
    sigma_y, shape = 0.3, (8, 8, 1)
    prior, rng = rd.gaussian_prior(jnp.zeros(shape), 0.25, SCHEDULE), np.random.default_rng(0)
    operator = rd.super_resolution(shape, 2)
    problem = rd.problem(jnp.asarray(rng.normal(size=(4, 4, 1))), operator, rd.gaussian(sigma_y))
    r = float(_ratio(60))
    solver = _noise_aware(
        prior,
        gamma=0.0,
        sigma_max=r,
        sigma_min=r,
        num_steps=300,
        control_variate=_exact_variate,
        init=rd.solvers.init_noise,
    )
    x = rd.run(jax.random.key(0), solver, problem).x
    # A A^T = I / 4: the posterior mean is A^T (I / 4 + sigma_y^2 (C + r^2)^-1)^-1 y.
    v = 0.25 + r**2
    expected = operator.adjoint(problem.y) / (0.25 + sigma_y**2 / v)
    np.testing.assert_allclose(x, expected, atol=1e-4)


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("q", [1 / 40, 40.0])
def test_the_unit_of_the_measurement_does_not_matter(q):
    prior, _, _, _ = _small()
    operator = rd.inpainting(np.random.default_rng(7).random(SMALL) > 0.5, channels=1)
    problem = rd.measure(jax.random.key(1), operator, rd.gaussian(0.05), prior.mean)
    scaled = rd.problem(q * problem.y, q * operator, rd.gaussian(0.05 * q))
    solver = _noise_aware(prior, num_steps=20)
    first, second = (rd.run(jax.random.key(0), solver, each).x for each in (problem, scaled))
    np.testing.assert_allclose(first, second, atol=1e-5)


def _is_linear(case):
    return "nonlinear" not in case.name and case.factory not in (
        "phase_retrieval",
        "hdr",
        "jpeg",
        "quantization",
        "saturated_blur",
        "operator",
    )


@functools.partial(jax.jit, static_argnums=3)
def _normal_equation(problem, v, kappa, num_cg):
    x = proximal(problem, v, kappa, num_cg)
    terms = [*map(problem.operator.adjoint, (problem.operator(x), -problem.y)), kappa * x, -kappa * v]
    return jnp.linalg.norm(sum(terms).ravel()), sum(jnp.linalg.norm(term.ravel()) for term in terms)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(c, id=c.name, marks=[] if c.name in ("inpainting", "super_resolution4") else [pytest.mark.slow])
        for c in OPERATORS
        if _is_linear(c)
    ],
)
def test_the_proximal_step_solves_its_equation(case):
    if case.requires:
        pytest.importorskip(case.requires)
    operator, rng = case.make(0), np.random.default_rng(5)
    v, x = (jnp.asarray(rng.normal(size=operator.in_shape), jnp.float32) for _ in range(2))
    problem = rd.problem(operator(x), operator, rd.gaussian(0.1))
    spectral = isinstance(operator, ops.SpectralOperator)
    left, size = _normal_equation(problem, v, 0.3, 1 if spectral else 100)
    # float32: of the terms, which cancel.
    assert float(left) < 1e-5 * float(size)


# ---- 4, 5, 6, 14: the Gaussian field

N = 32
FIELD = (N, N, 1)


def _spectrum():
    """Power 1 / f^2, mean variance 0.25."""
    frequencies = np.fft.fftfreq(N)
    squares = frequencies[:, None] ** 2 + frequencies[None, :] ** 2
    power = 1 / np.where(squares > 0, squares, 1 / N**2)
    return power / power.mean() * 0.25


def _field_eps(spectrum, x_t, t, cond):
    alpha_t, sigma_t = SCHEDULE(t)
    shrunk = sigma_t / (alpha_t**2 * spectrum + sigma_t**2) * jnp.fft.fft2(x_t[:, :, 0])
    return jnp.fft.ifft2(shrunk).real[:, :, None]


@functools.cache
def _field():
    return rd.prior(_field_eps, SCHEDULE, params=jnp.asarray(_spectrum(), jnp.float32))


def _draw_fields(seed, count):
    white = np.random.default_rng(seed).normal(size=(count, N, N))
    return np.fft.ifft2(np.sqrt(_spectrum()) * np.fft.fft2(white)).real[..., None].astype(np.float32)


def _field_operator(name):
    if name in ("denoising", "inpainting"):  # one type, so that both share their compilations
        kept = np.random.default_rng(9).random((N, N)) < (1.0 if name == "denoising" else 0.3)
        return rd.inpainting(kept, channels=1)
    if name == "super_resolution":
        return rd.super_resolution(FIELD, 4)
    return rd.gaussian_blur(FIELD, sigma=1.5, size=13, boundary=rd.operators.Boundary.CIRCULAR)


@functools.cache
def _field_problems(name, sigma_y, count=8):
    keys = jax.random.split(jax.random.key(1), count)
    measure = jax.vmap(lambda key, x: rd.measure(key, _field_operator(name), rd.gaussian(sigma_y), x))
    return measure(keys, _draw_fields(0, count))


@functools.cache
def _posterior(name, sigma_y, count=8):
    """Exact means (count, H, W, 1) and standard deviations (H, W, 1), in float64."""
    problems, operator = _field_problems(name, sigma_y, count), _field_operator(name)
    images = jnp.eye(N * N).reshape(-1, *FIELD)
    matrix = np.asarray(jax.jit(jax.vmap(operator))(images), float).reshape(N * N, -1).T
    seen = np.abs(matrix).sum(axis=1) > 0
    matrix, y = matrix[seen], np.asarray(problems.y, float).reshape(count, -1)[:, seen]
    units = np.eye(N * N).reshape(-1, N, N)
    covariance = np.fft.ifft2(_spectrum() * np.fft.fft2(units)).real.reshape(N * N, N * N)
    gain = np.linalg.solve(matrix @ covariance @ matrix.T + sigma_y**2 * np.eye(len(matrix)), matrix @ covariance).T
    variances = np.diag(covariance) - np.sum(gain * (covariance @ matrix.T), axis=1)
    return (y @ gain.T).reshape(count, *FIELD), np.sqrt(variances).reshape(FIELD)


def _psnr(xs, count=8):
    return np.mean(10 * np.log10(4 / np.mean((_draw_fields(0, count) - np.asarray(xs)) ** 2, axis=(1, 2, 3))))


def _loss(name, sigma_y, solver):
    """How much PSNR is missing to the exact posterior mean's, in dB."""
    xs = runs(jax.random.split(jax.random.key(2), 8), solver, _field_problems(name, sigma_y)).x
    return _psnr(_posterior(name, sigma_y)[0]) - _psnr(xs)


FIELD_TASKS = ["denoising", "inpainting", "super_resolution", "gaussian_blur"]
every_task = pytest.mark.parametrize("name", FIELD_TASKS)


@pytest.mark.slow
@every_task
def test_a_sweep_ends_at_the_posterior_mean_of_a_gaussian_field(name):
    losses = [_loss(name, sigma_y, _noise_aware(_field())) for sigma_y in (0.05, 0.1, 0.2)]
    assert max(losses) <= (0.15 if name == "inpainting" else 0.1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["inpainting", "super_resolution"])
def test_an_optimizer_ends_there_too(name):
    solver = _noise_aware(_field(), _ADAM)
    assert max(_loss(name, sigma_y, solver) for sigma_y in (0.05, 0.1, 0.2)) <= 0.35


@pytest.mark.slow
def test_the_published_form_fits_the_noise():
    solver = rd.reddiff(_field(), lam=0.25, num_steps=1000)
    problems = _field_problems("denoising", 0.2)
    xs = runs(jax.random.split(jax.random.key(2), 8), solver, problems).x
    assert abs(_psnr(xs) - _psnr(problems.y)) < 0.15


@pytest.mark.slow
@pytest.mark.parametrize("name", ["denoising", "super_resolution"])
def test_the_published_form_with_its_options_ends_at_the_posterior_mean(name):
    solver = rd.reddiff(
        _field(),
        lam=1.0,
        num_steps=100,
        spacing=schedules.log_even(SCHEDULE),
        control_variate=rd.solvers.variate_projected,
    ).replace(weight=NoiseAwareWeight())
    # As an optimizer does in noise_aware; without them 1 to 2 dB are missing.
    assert max(_loss(name, sigma_y, solver) for sigma_y in (0.05, 0.1, 0.2)) <= 0.35
    assert _loss(name, 0.2, rd.reddiff(_field(), num_steps=100)) > 1


@pytest.mark.slow
@every_task
def test_the_weight_of_the_theory_is_the_best(name):
    for sigma_y in (0.05, 0.2):
        solver = _noise_aware(_field())
        halved, right, doubled = (_loss(name, sigma_y, solver.replace(lam=jnp.asarray(lam))) for lam in (0.5, 1.0, 2.0))
        assert right <= min(halved, doubled) + 0.05


@pytest.mark.slow
def test_the_residual_at_the_solution_is_far_below_the_noise():
    solution = runs(jax.random.split(jax.random.key(2), 8), _noise_aware(_field()), _field_problems("denoising", 0.2))
    residuals = jax.vmap(rd.Problem.residual)(_field_problems("denoising", 0.2), solution.x)
    assert abs(float(jnp.mean(residuals**2)) / 0.2**2 - 0.31) < 0.03


def _kappa(solver, t, scale, problem):
    step = solver.step_rule
    return solver.weight.of(Scene(problem, SCHEDULE, scale), step.heat * solver.lam, step.gamma, 1.0)(*SCHEDULE(t))[1]


@pytest.mark.parametrize(("weighting", "power"), [("linear", 0), ("sqrt", -0.5), ("square", 1), ("const", -1)])
def test_published_weights_vanish_against_the_posteriors_where_noise_is_low(weighting, power):
    # kappa r^2 (C + r^2)^-1 over sigma_y^2 C^-1 at r = 0.01, for C >> r^2: lam r^(power + 2) / sigma_y^2.
    alpha_t, sigma_t = SCHEDULE(0)
    r, sigma_y, lam = float(sigma_t / alpha_t), 0.1, 0.25
    kappa = lam * float(rd.weightings.WEIGHTINGS[weighting](alpha_t, sigma_t)) / r
    assert kappa * r**2 / sigma_y**2 == pytest.approx(lam * r ** (power + 2) / sigma_y**2, rel=1e-5)
    assert kappa * r**2 / sigma_y**2 < 0.3
    solver = _noise_aware(_field(), gamma=0.0)
    ours = _kappa(solver, 0, 1.0, rd.problem(jnp.zeros(FIELD), rd.denoising(FIELD), rd.gaussian(sigma_y)))
    assert float(ours) * r**2 / sigma_y**2 == pytest.approx(1, rel=1e-5)  # float32


# ---- 9: perturb and optimise


@pytest.mark.usefixtures("x64")
def test_beside_a_draw_of_a_gaussian_prior_the_pull_has_no_noise():
    prior, _, covariance, z = _small()
    rng = np.random.default_rng(6)
    mu, anchor = jnp.asarray(rng.normal(size=SMALL)), jnp.asarray(rng.normal(size=SMALL))
    r = float(prior.schedule(300)[1] / prior.schedule(300)[0])
    expected = r**2 * np.linalg.solve(covariance + r**2 * np.eye(16), np.ravel(mu - anchor))
    beside = Anchored(prior.schedule, prior, mu, anchor)
    for noise in (z, 3 * z + 1):
        pull = _pull(noise, beside, mu, 300, control_variate=rd.solvers.variate_none)
        np.testing.assert_allclose(np.ravel(pull), expected, atol=1e-10)


K = 32
_many = jax.jit(jax.vmap(jax.vmap(rd.run, in_axes=(0, None, None)), in_axes=(0, None, 0)))


def _ensembles(solver, problems, count):
    """(count, K, H, W, C)"""
    return np.asarray(_many(jax.random.split(jax.random.key(3), (count, K)), solver, problems).x, float)


def _calibration(name, sigma_y, solver):
    """Coverage of the truth by the nominal 90 % interval of K draws, and their spread over the exact one."""
    xs, truth = _ensembles(solver, _field_problems(name, sigma_y, 4), 4), _draw_fields(0, 4)
    mean, std = xs.mean(axis=1), xs.std(axis=1, ddof=1)
    coverage = np.mean(np.abs(truth - mean) < 1.645 * std)
    return coverage, np.sqrt(np.mean(std**2) / np.mean(_posterior(name, sigma_y, 4)[1] ** 2))


@pytest.mark.slow
@every_task
def test_perturbed_optima_spread_as_the_posterior_of_a_gaussian_field(name):
    solver = rd.perturb_and_optimise(_noise_aware(_field()), _draw_fields(1, 512))
    coverage, ratio = _calibration(name, 0.1, solver)
    assert 0.87 <= coverage <= 0.92
    assert abs(ratio - 1) <= 0.03


# ---- 10, 11: variances of iterations at a fixed level

LEVEL = 0.3


@functools.partial(jax.jit, static_argnums=1)
def _spread(solver, burn_in, problem):
    """Mean square of all iterates but the first ones."""
    solution = rd.run(jax.random.key(0), solver, problem, record=_mu)
    return jnp.mean(solution.record[burn_in:] ** 2)


def _mu(state, info):
    return state.mu


def _fixed_level(prior, **options):
    return _noise_aware(
        prior, sigma_max=LEVEL, sigma_min=LEVEL, num_steps=450, to_timestep=schedules.Schedule.fractional, **options
    )


@pytest.mark.slow
@pytest.mark.parametrize("variance", [0.25, 1.0, 0.0])
def test_half_steps_spread_as_the_prior_and_published_steps_half_as_much(variance):
    # 400 iterates of 1024 pixels; 2 % are 5 standard errors and more.
    prior, nothing = rd.gaussian_prior(jnp.zeros(FIELD), variance, SCHEDULE), rd.unconditional(FIELD)
    r2 = LEVEL**2
    shrinking = variance / (variance + r2)
    published = shrinking**2 * r2 / (1 - shrinking**2)
    q = (1 + shrinking) / 2
    half_step = q**2 * r2 / (1 - q**2)
    solvers = [_fixed_level(prior, control_variate=rd.solvers.variate_published), _fixed_level(prior, sample=True)]
    spreads = [_spread(solver, 150, nothing) for solver in solvers]
    np.testing.assert_allclose(spreads, [published, half_step], rtol=0.02, atol=1e-6)
    if variance:
        assert published == pytest.approx(variance / (2 + r2 / variance))
        assert half_step == pytest.approx(variance + r2 / 4, rel=r2**2 / variance**2)
    else:
        assert half_step == pytest.approx(r2 / 3)


@pytest.mark.slow
def test_fresh_noise_beside_the_kept_one_restores_the_priors_variance():
    variance, r2 = 0.25, LEVEL**2
    prior = rd.gaussian_prior(jnp.zeros(FIELD), variance, SCHEDULE)
    t = SCHEDULE.fractional(LEVEL)

    def step(mu, key):
        z, xi = jax.random.normal(key, (2, *FIELD))
        mu = mu - _pull(z, prior, mu, t, control_variate=rd.solvers.variate_published) + LEVEL * xi
        return mu, jnp.mean(mu**2)

    _, squares = jax.lax.scan(step, jnp.zeros(FIELD), jax.random.split(jax.random.key(0), 450))
    shrinking = variance / (variance + r2)
    np.testing.assert_allclose(squares[50:].mean(), r2 * (1 + shrinking**2) / (1 - shrinking**2), rtol=0.02)


@pytest.mark.slow
def test_half_steps_spread_as_the_measurement_where_the_prior_says_nothing():
    sigma_y, h = 0.2, LEVEL**2 / 2
    prior = rd.gaussian_prior(jnp.zeros(FIELD), 1e6, SCHEDULE)
    problem = rd.problem(jnp.zeros(FIELD), rd.denoising(FIELD), rd.gaussian(sigma_y))
    spread = _spread(_fixed_level(prior, sample=True), 50, problem)
    np.testing.assert_allclose(spread, 2 * sigma_y**4 / (h + 2 * sigma_y**2), rtol=0.02)


# ---- 12: samples


@pytest.mark.slow
@pytest.mark.parametrize("start", [{}, {"sigma_max": 0.5, "init": rd.solvers.init_smooth}], ids=["default", "smooth"])
@every_task
def test_samples_spread_as_the_posterior_of_a_gaussian_field(name, start):
    coverage, ratio = _calibration(name, 0.1, _noise_aware(_field(), sample=True, **start))
    assert 0.87 <= coverage <= 0.92
    assert abs(ratio - 1) <= 0.06


@pytest.mark.slow
@every_task
def test_samples_of_the_published_form_with_its_options_do_too(name):
    spacing = schedules.log_even(SCHEDULE, 3.0, 0.1 / 4, to_timestep=schedules.Schedule.fractional)
    solver = rd.reddiff(_field(), lam=1.0, num_steps=100, spacing=spacing).replace(
        weight=NoiseAwareWeight(), step_rule=rd.langevin_step()
    )
    coverage, ratio = _calibration(name, 0.1, solver)
    assert 0.87 <= coverage <= 0.92
    assert abs(ratio - 1) <= 0.06


@pytest.mark.slow
def test_rounding_to_8_bits_is_noise_of_its_standard_deviation():
    operator, fields = _field_operator("gaussian_blur"), _draw_fields(0, 8)
    rounded = jnp.round((jax.vmap(operator)(fields) + 1) * 127.5) / 127.5 - 1
    impulse = np.zeros(FIELD, np.float32)
    impulse[0, 0] = 1
    transfer = np.fft.fft2(np.asarray(operator(impulse), float)[..., 0])
    wiener = _spectrum() * transfer.conj() / (np.abs(transfer) ** 2 * _spectrum() + ROUNDING_SIGMA**2)
    best = _psnr(np.fft.ifft2(wiener * np.fft.fft2(np.asarray(rounded, float)[..., 0])).real[..., None])

    def loss(sigma_y, **options):
        problems = jax.vmap(lambda y: rd.problem(y, operator, rd.gaussian(sigma_y)))(rounded)
        solver = _noise_aware(_field(), **options)
        return best - _psnr(runs(jax.random.split(jax.random.key(2), 8), solver, problems).x)

    assert loss(ROUNDING_SIGMA) <= 0.1
    # A sample errs twice as much as the posterior mean, in squares.
    assert abs(loss(ROUNDING_SIGMA, sample=True) - 10 * np.log10(2)) <= 0.3
    # Taken for noiseless, the rounding would be undone.
    assert min(loss(0.0), loss(0.0, sample=True)) > 5


def _haar(n):
    """Orthonormal rows."""
    if n == 1:
        return np.ones((1, 1))
    coarse, fine = np.kron(_haar(n // 2), [1, 1]), np.kron(np.eye(n // 2), [1, -1])
    return np.concatenate([coarse, fine]) / np.sqrt(2)


SLAB = 0.1, 2.5  # share and variance of the coefficients that are not zero


def _haar_eps(basis, x_t, t, cond):
    alpha_t, sigma_t = SCHEDULE(t)
    coefficients = basis @ x_t[:, :, 0] @ basis.T
    share, variance = SLAB
    slab = alpha_t**2 * variance + sigma_t**2
    log_odds = jnp.log(share / (1 - share)) + 0.5 * (
        jnp.log(sigma_t**2 / slab) + coefficients**2 * (1 / sigma_t**2 - 1 / slab)
    )
    w = jax.nn.sigmoid(log_odds)
    eps = sigma_t * coefficients * (w / slab + (1 - w) / sigma_t**2)
    return (basis.T @ eps @ basis)[:, :, None]


@pytest.mark.slow
@every_task
def test_samples_of_sparse_pictures_err_as_much_as_they_spread(name):
    basis, rng = _haar(N), np.random.default_rng(0)
    coefficients = np.where(rng.random((4, N, N)) < SLAB[0], np.sqrt(SLAB[1]), 0) * rng.normal(size=(4, N, N))
    truth = (basis.T @ coefficients @ basis)[..., None].astype(np.float32)
    prior = rd.prior(_haar_eps, SCHEDULE, params=jnp.asarray(basis, jnp.float32))
    measure = jax.vmap(lambda key, x: rd.measure(key, _field_operator(name), rd.gaussian(0.1), x))
    problems = measure(jax.random.split(jax.random.key(1), 4), truth)
    # After 100 steps the spread is still too large where pixels are missing: a score of 0.86.
    xs = _ensembles(_noise_aware(prior, sample=True, num_steps=400), problems, 4)
    scores = (truth - xs.mean(axis=1)) / xs.std(axis=1, ddof=1)
    assert 0.88 <= scores.std() <= 1.1


MODE_STD = 0.2


def _mixture_eps(means, x_t, t, cond):
    alpha_t, sigma_t = SCHEDULE(t)
    deviation = x_t.reshape(1, -1) - alpha_t * means  # (25, 8)
    variance = alpha_t**2 * MODE_STD**2 + sigma_t**2
    shares = jax.nn.softmax(-0.5 * jnp.sum(deviation**2, axis=1) / variance)
    return (sigma_t / variance * (shares @ deviation)).reshape(x_t.shape)


@functools.cache
def _mixture(sample):
    """For two measurements of 8 numbers: 2000 draws, and the exact weights, means and covariance."""
    means, rng = np.random.default_rng(1).normal(size=(25, 8)) / 2, np.random.default_rng(2)
    matrix, sigmas = rng.normal(size=(2, 8)) / np.sqrt(8), np.array([0.1, 0.3])
    prior = rd.prior(_mixture_eps, SCHEDULE, params=jnp.asarray(means, jnp.float32))
    x = means[[7, 12]] + MODE_STD * rng.normal(size=(2, 8))
    y = x @ matrix.T + sigmas[:, None] * rng.normal(size=(2, 2))
    operator = rd.matrix_operator(matrix, (2, 2, 2))
    problems = rd.stack([rd.problem(jnp.asarray(v), operator, rd.gaussian(s)) for v, s in zip(y, sigmas, strict=True)])
    solver = _noise_aware(prior, sample=sample, num_steps=1000)
    xs = _many(jax.random.split(jax.random.key(3), (2, 2000)), solver, problems).x
    exact = []
    for v, s in zip(y, sigmas, strict=True):
        evidence = s**2 * np.eye(2) + MODE_STD**2 * matrix @ matrix.T
        gain = MODE_STD**2 * np.linalg.solve(evidence, matrix).T  # (8, 2)
        shift = v - means @ matrix.T  # (25, 2)
        log_weights = -0.5 * np.sum(shift * np.linalg.solve(evidence, shift.T).T, axis=1)
        weights = np.exp(log_weights - log_weights.max())
        covariance = MODE_STD**2 * (np.eye(8) - gain @ matrix)
        exact.append((means, weights / weights.sum(), means + shift @ gain.T, covariance))
    return np.asarray(xs, float).reshape(2, 2000, 8), exact


def _modes(xs, exact):
    """Total variation of the modes' weights, and the whitened spread within modes."""
    means, weights, posterior_means, covariance = exact
    mode = np.sum((xs[:, None] - means) ** 2, axis=2).argmin(axis=1)
    shares = np.bincount(mode, minlength=25) / len(xs)
    whitened = np.linalg.solve(np.linalg.cholesky(covariance), (xs - posterior_means[mode]).T)
    return 0.5 * np.abs(shares - weights).sum(), np.sqrt(np.mean(whitened**2))


@pytest.mark.slow
@pytest.mark.parametrize("i", [0, 1])
def test_samples_find_the_modes_of_a_mixture_in_their_shares(i):
    xs, exact = _mixture(sample=True)
    distance, spread = _modes(xs[i], exact[i])
    assert distance < 0.1  # 0.03 to 0.04 of 2000 exact draws
    assert abs(spread - 1) <= 0.05


@pytest.mark.slow
def test_a_point_estimate_does_not():
    xs, exact = _mixture(sample=False)
    assert min(_modes(x, e)[0] for x, e in zip(xs, exact, strict=True)) > 0.35


# ---- what it needs, and its options


@pytest.mark.slow
def test_an_operator_that_is_not_linear_gets_gauss_newton_steps():
    prior, operator = rd.gaussian_prior(jnp.zeros(SMALL), 0.1, SCHEDULE), rd.operator(jnp.tanh, SMALL)
    problem = rd.problem(jnp.full(SMALL, 0.4), operator, rd.gaussian(0.02))
    solvers = [_noise_aware(prior, *step, init=rd.solvers.init_zeros) for step in ((), (rd.proximal_step(),), (_ADAM,))]
    first, second, by_adam = (rd.run(jax.random.key(0), solver, problem).x for solver in solvers)
    assert np.array_equal(first, second)
    for x in (first, by_adam):
        np.testing.assert_allclose(x, np.arctanh(0.4), atol=0.03)  # Adam's last steps are 0.002 long


def test_the_prior_is_weighed_by_the_squared_noise_over_the_squared_level():
    problem = rd.problem(jnp.zeros(FIELD), rd.denoising(FIELD), rd.gaussian(0.1))
    r2 = float(_ratio(200)) ** 2
    for options, expected in [
        ({}, 0.001 * 0.5 + 0.01 / r2),
        ({"lam": 3.0, "gamma": 0.2}, 0.2 * 0.5 + 0.03 / r2),
        ({"step": _ADAM}, 0.03 * 0.5 + 0.01 / r2),
        ({"sample": True}, 1e-6 * 0.5 + 0.02 / r2),
    ]:
        kappa = _kappa(_noise_aware(_field(), **options), 200, 0.5, problem)
        assert float(kappa) == pytest.approx(expected, rel=1e-5)  # float32


def test_a_scale_found_by_a_probe_is_that_of_the_svd():
    # Half of the blocks are not measured; the entries of a block are few and equal, so that random signs would cancel.
    operator = rd.super_resolution((32, 32, 3), 2)
    measured = rd.linear_operator(lambda x: operator(x).at[8:].set(0.0), (32, 32, 3))
    solver = _noise_aware(rd.gaussian_prior(jnp.zeros((32, 32, 3)), 1.0, SCHEDULE), init=rd.solvers.init_zeros)
    state = solver.init(jax.random.key(0), rd.problem(jnp.zeros((16, 16, 3)), measured, rd.gaussian(0.1)))
    # The mean of 384 squares of normal numbers has a relative deviation of sqrt(2 / 384) = .07.
    assert float(state.scale) == pytest.approx(1 / 4, rel=0.2)


@pytest.mark.filterwarnings("ignore:noise. sigma_y is:UserWarning")  # levels beyond pictures, on purpose
@pytest.mark.parametrize(
    ("sigma_y", "scale", "last"),
    [(0.0, 1.0, 0.02), (0.4, 1.0, 0.1), (0.4, 0.1, 0.1), (4.0, 100.0, 0.1), (40.0, 1.0, 3)],
)
def test_levels_fall_by_one_factor_to_a_quarter_of_the_noise(sigma_y, scale, last):
    problem = rd.problem(jnp.zeros(FIELD), rd.denoising(FIELD), rd.gaussian(sigma_y))
    solver = _noise_aware(_field(), num_steps=5, to_timestep=lambda schedule, ratio: ratio)
    levels = [float(solver.levels(None, step, Scene(problem, SCHEDULE, scale))[0]) for step in range(5)]
    np.testing.assert_allclose(levels, np.geomspace(3, last, 5), rtol=1e-5)  # float32


def test_noise_that_is_not_gaussian_is_an_error_that_names_the_remedy(key):
    problem = rd.problem(jnp.ones(SMALL), rd.denoising(SMALL), rd.poisson(1.0))
    with pytest.raises(TypeError, match=r"noise_aware needs Gaussian noise.*Poisson.*rd\.likelihood"):
        _noise_aware(_small()[0]).init(key, problem)


def test_prior_samples_of_another_shape_are_an_error(key):
    problem = rd.problem(jnp.ones(SMALL), rd.denoising(SMALL))
    message = r"images of shape \(5, 4, 1\) but the problem's image has shape \(4, 4, 1\)"
    with pytest.raises(ValueError, match=message):
        rd.perturb_and_optimise(_noise_aware(_small()[0]), jnp.zeros((2, 5, 4, 1))).init(key, problem)


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (jnp.zeros(SMALL), "prior_samples has shape"),
        (jnp.zeros((0, *SMALL)), "one at least"),
        (jnp.full((2, *SMALL), jnp.nan), "entries of prior_samples are not finite"),
    ],
    ids=["one image", "none", "nan"],
)
def test_prior_samples_that_are_no_images_are_an_error(samples, said):
    with pytest.raises(ValueError, match=said):
        rd.perturb_and_optimise(_noise_aware(_small()[0]), samples)


def test_perturbing_what_draws_samples_itself_is_an_error_that_names_the_remedy():
    with pytest.raises(ValueError, match=r"draws samples itself.*without sample=True"):
        rd.perturb_and_optimise(_noise_aware(_small()[0], sample=True), jnp.zeros((2, *SMALL)))


def test_langevin_steps_mean_samples_with_the_defaults_of_samples():
    prior = _small()[0]
    ours, asked = (rd.noise_aware(prior, **options) for options in ({"step": rd.langevin_step()}, {"sample": True}))
    assert jax.tree.structure(ours) == jax.tree.structure(asked)
    assert jax.tree.leaves(ours) == jax.tree.leaves(asked)


def test_perturbing_what_is_no_red_diff_is_an_error_that_names_the_remedy():
    with pytest.raises(TypeError, match=r"needs a RED-diff; DDIM is not one\. Use rd\.noise_aware"):
        rd.perturb_and_optimise(rd.ddim(_small()[0]), jnp.zeros((2, *SMALL)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lam": -1.0}, "lam is -1.0"),
        ({"gamma": -1.0}, "gamma is -1.0"),
        ({"sigma_max": 0.0}, "sigma_max is 0.0"),
        ({"sigma_min": 0.0}, "sigma_min is 0.0"),
        ({"num_steps": 0}, "num_steps is 0"),
        ({"num_cg": 0}, "num_cg is 0"),
        ({"sigma_max": 0.1, "sigma_min": 0.2}, "sigma_max is 0.1 but must be at least sigma_min, which is 0.2"),
        ({"sample": True, "step": _ADAM}, "sample=True has its own step"),
        ({"step": rd.langevin_step(), "control_variate": rd.solvers.variate_none}, "sample=True has its own step"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(value),
)
def test_options_that_make_no_sense_are_an_error(options, message):
    with pytest.raises(ValueError, match=message):
        _noise_aware(_small()[0], **options)
