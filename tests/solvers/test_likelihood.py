"""The data term by the noise's likelihood: equal to least squares for Gaussians, and what it is for the others."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import reddiff_jax as rd

SHAPE = (4, 6, 1)
LINEAR = rd.schedules.linear()
LIKELIHOOD = functools.partial(rd.optax_step, data_term=rd.likelihood)


def _normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def _prior(*shape):
    return rd.gaussian_prior(jnp.zeros(shape or SHAPE), 0.25, LINEAR)


def _masked_tanh(x):
    return jnp.tanh(2 * x)[::2]


def _fourier(x):
    return jnp.fft.fft2(x, axes=(0, 1), norm="ortho")[:, ::2]


def _exposures(times, x):
    return times * x


OPERATORS = {
    "inpainting": rd.inpainting(np.random.default_rng(2).random(SHAPE[:2]) > 0.5, channels=1),
    "blur": rd.uniform_blur(SHAPE, size=3),
    "complex": rd.linear_operator(_fourier, SHAPE),
    "nonlinear": rd.operator(_masked_tanh, SHAPE),
}
every_operator = pytest.mark.parametrize("name", OPERATORS)


@jax.jit
def _gradients(problem, x):
    """By the likelihood, by least squares, and the derivative of the scaled nll."""

    def scaled_nll(x):
        return problem.noise.variance(problem.y) * problem.noise.nll(problem.y, problem.operator(x))

    return rd.likelihood(problem, x), rd.least_squares(problem, x), jax.grad(scaled_nll)(x)


@every_operator
@pytest.mark.parametrize("sigma_y", [0.0, 0.3])
def test_for_gaussian_noise_it_is_least_squares(name, sigma_y):
    operator = OPERATORS[name]
    problem = rd.problem(operator(_normal(0, *SHAPE)), operator, rd.gaussian(sigma_y))
    actual, expected, _ = _gradients(problem, _normal(1, *SHAPE))
    # The same formula by another derivative: float32 roundings of entries of order 1.
    np.testing.assert_allclose(actual, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "noise"),
    [
        ("inpainting", rd.poisson(30.0)),
        ("blur", rd.poisson(30.0)),
        ("nonlinear", rd.poisson_gaussian(30.0, 0.1)),
        ("blur", rd.speckle(4.0)),
        ("nonlinear", rd.impulse(0.2, sigma_y=0.2)),
        ("complex", rd.uniform_quantization(0.5)),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_it_is_the_derivative_of_the_scaled_nll_through_the_operator(name, noise):
    operator = OPERATORS[name]
    problem = rd.problem(operator(jnp.tanh(_normal(0, *SHAPE))), operator, noise)
    actual, _, expected = _gradients(problem, 0.5 * _normal(1, *SHAPE))
    np.testing.assert_allclose(actual, expected, atol=1e-5 * float(jnp.abs(expected).max()))  # float32


@pytest.mark.slow
def test_the_gradient_of_reddiff_takes_it_in_place_of_least_squares():
    operator, x, eps = OPERATORS["blur"], 0.5 * _normal(1, *SHAPE), _normal(2, *SHAPE)
    problem = rd.problem(operator(jnp.tanh(_normal(0, *SHAPE))), operator, rd.poisson(30.0))
    plain, by_likelihood = (
        rd.reddiff_gradient(eps, _prior(), problem, x, 300, data_term=term)
        for term in (rd.least_squares, rd.likelihood)
    )
    expected = np.subtract(*_gradients(problem, x)[:2])
    np.testing.assert_allclose(by_likelihood[0] - plain[0], expected, atol=1e-4)  # float32, entries of order 10
    assert by_likelihood[1].residual == plain[1].residual


def test_least_squares_is_the_default():
    assert rd.reddiff(_prior()).step_rule.data_term is rd.least_squares


TIMES = np.linspace(0.02, 1.0, 12).reshape(12, 1, 1)


@pytest.mark.slow
def test_without_a_prior_term_the_most_likely_image_is_found(key):
    # One intensity x seen with exposures t: counts of rate n t x. Most likely is sum k / (n sum t).
    times, noise = jnp.asarray(TIMES, jnp.float32), rd.poisson(40.0, low=0.0, high=1.0)
    operator = rd.linear_operator(_exposures, (1, 1, 1), params=times)
    counts = np.random.default_rng(0).poisson(40 * 0.8 * TIMES)
    problem = rd.problem(noise.value(jnp.asarray(counts)), operator, noise)
    optimizer = optax.adam(optax.cosine_decay_schedule(0.05, 300))
    solver = rd.reddiff(_prior(1, 1, 1), LIKELIHOOD(optimizer), lam=0.0, num_steps=300, init=rd.solvers.init_zeros)
    x, y = rd.run(key, solver, problem).x, np.asarray(problem.y)
    # Adam with a decaying step settles to its last digits.
    np.testing.assert_allclose(x, y.sum() / TIMES.sum(), rtol=1e-3)
    by_squares = jnp.full((1, 1, 1), (TIMES * y).sum() / (TIMES**2).sum(), jnp.float32)
    assert noise.nll(problem.y, operator(x)) < noise.nll(problem.y, operator(by_squares))


def _dim_problem(i, photons):
    x = jnp.asarray(0.5 * np.random.default_rng(10 + i).normal(size=SHAPE), jnp.float32)
    return rd.problem(jnp.tanh(x), rd.denoising(SHAPE), rd.poisson(photons))


@pytest.mark.slow
def test_a_batch_with_a_photon_count_for_each_image_equals_single_runs():
    problems = [_dim_problem(i, photons) for i, photons in enumerate((3.0, 30.0, 300.0))]
    solver = rd.reddiff(_prior(), LIKELIHOOD(), num_steps=8)
    keys = jax.random.split(jax.random.key(5), 3)
    batch = jax.jit(jax.vmap(rd.run, in_axes=(0, None, 0)))(keys, solver, rd.stack(problems))
    singles = [rd.run(key, solver, problem).x for key, problem in zip(keys, problems, strict=True)]
    assert bool(batch.finite.all())
    # XLA fuses the batched steps differently: float32 roundings of mu of order 1, through Adam's division.
    np.testing.assert_allclose(batch.x, np.stack(singles), atol=1e-4)


def test_a_new_photon_count_is_no_new_trace():
    traces = []

    def fn(x_t, t, cond):
        traces.append(1)
        return 0.5 * x_t

    solver = rd.reddiff(rd.prior(fn, LINEAR), LIKELIHOOD(), num_steps=4)
    for i, photons in enumerate((5.0, 50.0)):
        rd.run(jax.random.key(i), solver, _dim_problem(i, photons))
    assert len(traces) == 1


@pytest.mark.parametrize(
    "noise", [rd.poisson(20.0, low=0.0, high=1.0), rd.poisson_magnitude(20.0)], ids=lambda noise: type(noise).__name__
)
def test_a_run_from_a_dark_image_stays_finite(noise, key):
    problem = rd.problem(jnp.full(SHAPE, 0.5), rd.denoising(SHAPE), noise)
    solver = rd.reddiff(_prior(), LIKELIHOOD(), num_steps=8, init=rd.solvers.init_zeros)
    assert bool(rd.run(key, solver, problem).finite)
