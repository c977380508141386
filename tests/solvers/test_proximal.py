"""The proximal step of measurements that are not linear: bins, what was cut off, and Gauss-Newton."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd
from reddiff_jax import operators as ops
from reddiff_jax.operators._straight_through import nearest_in_bins
from reddiff_jax.solvers._proximal import proximal

SHAPE = (8, 8, 3)
GRAY = (6, 6, 1)
SIXTEEN = (16, 16, 3)


def _cost(problem, x, rho, v):
    return float(2 * problem.misfit(v) + rho * jnp.sum((v - x) ** 2))


@pytest.mark.parametrize("rho", [1e-4, 0.3, 20.0])
def test_no_level_is_nearer_than_the_bin_that_is_taken(rho, rng):
    x, y = (jnp.asarray(rng.uniform(-3, 6, 400), jnp.float32) for _ in range(2))
    found = np.asarray(nearest_in_bins(x, y, rho, 0.0, 3.0), float)
    edges = [(-np.inf, 0.5), (0.5, 1.5), (1.5, 2.5), (2.5, np.inf)]
    candidates = np.stack([np.clip(np.asarray(x, float), low, high) for low, high in edges])
    levels = np.arange(4.0)[:, None]
    costs = (levels - np.asarray(y, float)) ** 2 + rho * (candidates - np.asarray(x, float)) ** 2
    taken = np.min(np.where(np.isclose(candidates, found, atol=1e-5), costs, np.inf), axis=0)
    # float32 of costs up to 100.
    np.testing.assert_allclose(taken, costs.min(0), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("bits", [1, 2, 5])
def test_what_was_rounded_is_moved_to_the_nearest_point_of_its_bin(bits, rng):
    truth, x = (jnp.asarray(rng.uniform(-1.2, 1.2, SHAPE), jnp.float32) for _ in range(2))
    operator = ops.quantization(SHAPE, bits)
    y, half = operator(truth), 1 / (2**bits - 1)
    low, high = jnp.where(y <= -1, -jnp.inf, y - half), jnp.where(y >= 1, jnp.inf, y + half)
    # The scale of the levels and back, in float32.
    np.testing.assert_allclose(operator.proximal(x, y, 0.0), jnp.clip(x, low, high), atol=1e-6)


@pytest.mark.slow
def test_without_noise_the_step_of_jpeg_is_its_projection(rng):
    truth, x = (jnp.asarray(rng.uniform(-1, 1, SIXTEEN), jnp.float32) for _ in range(2))
    operator = ops.jpeg(SIXTEEN, 20)
    y = operator(truth)
    # Cosine transforms and back, in float32.
    np.testing.assert_allclose(operator.proximal(x, y, 1e-6), operator.project(x, y), atol=1e-5)


def test_noise_beside_jpeg_is_not_taken_for_the_picture(rng):
    truth = jnp.asarray(rng.uniform(-0.2, 0.2, SIXTEEN), jnp.float32)
    operator = ops.jpeg(SIXTEEN, 20)
    y = operator(truth)
    noisy = y + 0.01 * jnp.asarray(rng.normal(size=SIXTEEN), jnp.float32)
    # Noise of a fraction of a bin moves no coefficient to another one.
    np.testing.assert_allclose(operator.proximal(truth, noisy, 0.5), operator.proximal(truth, y, 0.5), atol=1e-5)


def test_what_was_cut_off_is_censored_least_squares(rng):
    operator, rho = ops.hdr(GRAY, 2.0), 0.5
    x = jnp.asarray(rng.uniform(-1, 1, GRAY), jnp.float32)
    problem = rd.problem(operator(jnp.asarray(rng.uniform(-1, 1, GRAY), jnp.float32)), operator)
    linear = (2 * problem.y + rho * x) / (4 + rho)
    # Of what was cut off only a side is known: nothing moves what is on it.
    one_sided = jnp.where(problem.y >= 1, jnp.maximum(x, linear), jnp.minimum(x, linear))
    expected = jnp.where(jnp.abs(problem.y) >= 1, one_sided, linear)
    np.testing.assert_allclose(proximal(problem, x, rho, 5), expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("complex_valued", [False, True], ids=["real", "complex"])
def test_gauss_newton_of_a_linear_map_is_its_proximal_step(complex_valued, rng):
    matrix = jnp.asarray(rng.normal(size=(20, 36)) + 1j * complex_valued * rng.normal(size=(20, 36)))

    def fn(x):
        return (matrix if complex_valued else matrix.real).astype(jnp.result_type(matrix)) @ x.reshape(-1)

    if not complex_valued:
        matrix = matrix.real
    x = jnp.asarray(rng.normal(size=GRAY), jnp.float32)
    y = fn(jnp.asarray(rng.normal(size=GRAY), jnp.float32))
    known, own = (rd.problem(y, make(fn, GRAY)) for make in (rd.linear_operator, rd.operator))
    # 36 unknowns: conjugate gradients end, up to float32's rounding of sums of 36 squares.
    np.testing.assert_allclose(proximal(own, x, 0.7, 40), proximal(known, x, 0.7, 40), atol=2e-4)


@pytest.mark.parametrize("num_newton", [1, 3])
def test_gauss_newton_never_moves_away(num_newton, rng):
    operator = rd.operator(lambda x: jnp.tanh(4 * x) + x**3, GRAY)
    problem = rd.problem(jnp.asarray(rng.uniform(-1, 1, GRAY), jnp.float32), operator)
    x = jnp.asarray(rng.uniform(-2, 2, GRAY), jnp.float32)
    v = proximal(problem, x, 0.01, 10, num_newton)
    assert _cost(problem, x, 0.01, v) <= _cost(problem, x, 0.01, x)


def test_more_gauss_newton_steps_come_to_the_minimum(rng):
    operator = rd.operator(jnp.tanh, GRAY)
    problem = rd.problem(jnp.asarray(rng.uniform(-0.5, 0.5, GRAY), jnp.float32), operator)
    x = jnp.asarray(rng.uniform(-0.5, 0.5, GRAY), jnp.float32)
    v = proximal(problem, x, 0.5, 20, 6)
    gradient = jax.grad(lambda v: problem.misfit(v) + 0.25 * jnp.sum((v - x) ** 2))(v)
    # float32 of terms of about 1.
    np.testing.assert_allclose(gradient, 0, atol=1e-5)


def test_in_the_middle_of_what_was_cut_off_the_measurement_is_explained(rng):
    x = jnp.asarray(rng.uniform(-1, 1, SHAPE), jnp.float32)
    operator = ops.hdr(SHAPE, 2.0)
    y = operator(x)
    middle = operator.middle(y, 0.0)
    np.testing.assert_allclose(operator(middle), y, atol=1e-6)
    np.testing.assert_allclose(jnp.abs(middle)[jnp.abs(y) >= 1], 0.75)


def test_noise_counts_when_it_is_seen_what_was_cut_off():
    problem = rd.problem(jnp.full(SHAPE, 0.9), ops.hdr(SHAPE, 2.0), rd.gaussian(0.05))
    first = rd.solvers.init_middle(jax.random.key(0), problem, jnp.ones(()), jnp.ones(()))
    np.testing.assert_allclose(first, 0.75)


def test_the_middle_of_what_cuts_nothing_off_is_an_error_that_names_the_remedy():
    problem = rd.problem(jnp.zeros(SHAPE), ops.denoising(SHAPE))
    with pytest.raises(TypeError, match=r"needs a SaturatingOperator; Denoising.*Use init_pinv"):
        rd.solvers.init_middle(jax.random.key(0), problem, jnp.ones(()), jnp.ones(()))


# ---- outliers


def test_without_outliers_the_robust_step_is_that_of_squares(rng):
    problem = rd.problem(jnp.asarray(rng.normal(size=GRAY), jnp.float32), ops.denoising(GRAY), rd.gaussian(0.1))
    x = problem.y + jnp.asarray(rng.uniform(-0.2, 0.2, GRAY), jnp.float32)
    np.testing.assert_allclose(
        proximal(problem, x, 0.5, 20, outliers=rd.robust()), proximal(problem, x, 0.5, 20), atol=1e-6
    )


def test_an_outlier_pulls_less_the_further_out_it_is():
    def pulled(distance):
        problem = rd.problem(jnp.full(GRAY, distance), ops.denoising(GRAY), rd.gaussian(0.01))
        return float(proximal(problem, jnp.zeros(GRAY), 1.0, 5, outliers=rd.robust())[0, 0, 0])

    assert pulled(0.02) == pytest.approx(0.01, rel=1e-4)
    # Weight (0.027 / d)^2, so that the step is d w / (w + 1).
    for distance in (0.5, 1.0):
        weight = (0.027 / distance) ** 2
        assert pulled(distance) == pytest.approx(distance * weight / (weight + 1), rel=1e-4)


@pytest.mark.parametrize("complex_valued", [False, True], ids=["real", "complex"])
def test_the_robust_gradient_is_that_of_half_its_loss(complex_valued, rng):
    matrix = jnp.asarray(rng.normal(size=(20, 36)) + 1j * complex_valued * rng.normal(size=(20, 36)))
    matrix = matrix if complex_valued else matrix.real
    problem = rd.problem(matrix @ jnp.zeros(36), rd.operator(lambda x: matrix @ x.reshape(-1), GRAY), rd.gaussian(0.5))
    term, x = rd.robust(), jnp.asarray(rng.normal(size=GRAY), matrix.real.dtype)
    expected = jax.grad(lambda x: 0.5 * term.loss(problem, problem.residual(x)))(x)
    np.testing.assert_allclose(term(problem, x), expected, rtol=1e-4, atol=1e-4)


def test_a_robust_limit_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="robust: limit is 0"):
        rd.robust(0.0)


def test_other_data_terms_of_the_proximal_step_are_refused():
    with pytest.raises(TypeError, match=r"data_term is .* but must be rd\.robust\(\)"):
        rd.proximal_step(data_term=rd.likelihood)
