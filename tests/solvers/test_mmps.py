"""MMPS: its updates against NumPy and azula, and its exactness for a Gaussian prior."""

import azula_oracle
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dense import NUM_STEPS, SHAPE, N, Scene, check_walk, one_update

import reddiff_jax as rd

SCENES = {"inpainting": 2, "super_resolution": 1}
every_scene = pytest.mark.parametrize(("task", "components"), SCENES.items(), ids=SCENES)


def _posterior_mean(scene, x_t, t):
    x_hat, _, jacobian = scene.estimates(x_t, t)
    covariance = scene.sigmas[t] ** 2 / scene.alphas[t] * jacobian.T
    measured = scene.matrix @ covariance @ scene.matrix.T + scene.sigma_y**2 * np.eye(len(scene.y))
    return x_hat + covariance @ scene.matrix.T @ np.linalg.solve(measured, scene.y - scene.matrix @ x_hat)


@every_scene
def test_updates_are_the_formulas(task, components):
    def update(scene, z, x_t, t, s):
        x_y = _posterior_mean(scene, x_t, t)
        eps_y = (x_t - scene.alphas[t] * x_y) / scene.sigmas[t]
        return scene.ddim(z, x_y, eps_y, t, s, eta=0.7)

    scene = Scene(task, components, sigma_y=0.3)
    # As many steps as conjugate gradients need at these condition numbers, below 10.
    check_walk(lambda prior: rd.mmps(prior, eta=0.7, num_cg=45, num_steps=NUM_STEPS), scene, update)


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # of torch, in its own jvp
@pytest.mark.parametrize("num_cg", [1, 3])
def test_the_estimate_is_azulas_after_as_many_steps(num_cg):
    scene, t = Scene("inpainting", components=1, sigma_y=0.1), 600
    expected = azula_oracle.mmps_mean(scene, t, num_cg)
    with jax.enable_x64(True):
        x_t = jnp.asarray(scene.x_start.reshape(SHAPE))
        solver = rd.mmps(scene.prior, eta=0.0, num_cg=num_cg)
        x_y = one_update(solver, scene.problem, x_t, 0 * x_t, t, -1)  # the last step ends at its estimate
    np.testing.assert_allclose(x_y, expected, rtol=1e-10)  # float64, one step


def _full_gaussian():
    """A prior with a full covariance, a measurement, and the exact posterior's mean and covariance."""
    rng = np.random.default_rng(3)
    factor = rng.normal(size=(16, 16)) / 5
    mean, covariance = rng.normal(size=16), factor @ factor.T + 0.05 * np.eye(16)
    operator = rd.super_resolution((4, 4, 1), 2)
    matrix = np.asarray(jax.jacobian(operator)(jnp.zeros((4, 4, 1)))).reshape(4, 16)
    y, sigma_y = matrix @ rng.normal(size=16), 0.1
    gain = covariance @ matrix.T @ np.linalg.inv(matrix @ covariance @ matrix.T + sigma_y**2 * np.eye(4))
    prior = rd.gaussian_prior(mean.reshape(4, 4, 1), covariance, rd.schedules.linear())
    problem = rd.problem(jnp.asarray(y.reshape(2, 2, 1)), operator, rd.gaussian(sigma_y))
    return prior, problem, mean + gain @ (y - matrix @ mean), covariance - gain @ matrix @ covariance


@pytest.mark.slow
def test_with_a_gaussian_prior_the_flow_carries_noise_to_the_exact_posterior():
    with jax.enable_x64(True):
        prior, problem, mean, covariance = _full_gaussian()
        solver = rd.mmps(prior, eta=0.0, num_cg=4, num_steps=1000)

        @jax.jit
        @jax.vmap
        def flow(x):
            z = jnp.zeros_like(x)
            steps = jnp.arange(solver.num_steps)
            return jax.lax.scan(lambda x, k: (solver.update(z, x, *solver.levels(k), problem)[0], None), x, steps)[0]

        # The flow is affine, so that its value at 0 and at the unit vectors is all of it.
        x = np.asarray(flow(jnp.concatenate([jnp.zeros((1, 16)), jnp.eye(16)]).reshape(17, 4, 4, 1))).reshape(17, 16)
    shift, linear = x[0], x[1:] - x[0]
    # Euler's error at 1000 steps, and alpha_T = 0.006 of the mean, of numbers up to 2.
    np.testing.assert_allclose(shift, mean, atol=0.02)
    np.testing.assert_allclose(linear.T @ linear, covariance, atol=0.02 * np.abs(covariance).max())


@pytest.mark.slow
def test_a_nonlinear_operator_is_linearised_at_the_estimate():
    scene, t = Scene("inpainting", components=1), 500
    with jax.enable_x64(True):
        prior, x_t = scene.prior, jnp.asarray(scene.x_start.reshape(SHAPE))
        curved = rd.operator(_square, SHAPE)
        problem = rd.problem(curved(x_t), curved, rd.gaussian(0.2))
        x_hat = prior.denoise(x_t, t)
        slope = np.asarray(jax.jacobian(_square)(x_hat)).reshape(-1, N)
        scene.matrix, scene.sigma_y = slope, 0.2
        # y - A(x_hat) written as that of the tangent.
        scene.y = np.asarray(problem.y - curved(x_hat)).ravel() + slope @ np.asarray(x_hat).ravel()
        x_y = one_update(rd.mmps(prior, eta=0.0, num_cg=40), problem, x_t, 0 * x_t, t, -1)
    np.testing.assert_allclose(x_y.ravel(), _posterior_mean(scene, scene.x_start, t), atol=1e-9)  # float64


def _square(x):
    return x[::2] ** 2


def _estimate(slope, y, sigma_y, **options):
    """MMPS's estimate of x_0 at t = 300, and x_hat, where x_hat = 0.1 + slope (x_t - 0.5)."""
    schedule, t = rd.schedules.linear(), 300
    alpha_t, sigma_t = schedule(t)
    prior = rd.prior(lambda x_t, t, cond: (x_t - alpha_t * (0.1 + slope * (x_t - 0.5))) / sigma_t, schedule)
    problem = rd.problem(jnp.full(SHAPE, y), rd.denoising(SHAPE), rd.gaussian(sigma_y))
    x_t = jnp.full(SHAPE, 0.5)
    return one_update(rd.mmps(prior, eta=0.0, **options), problem, x_t, 0 * x_t, t, -1), 0.1


def test_where_the_networks_covariance_is_negative_its_estimate_stays():
    alpha_t, sigma_t = rd.schedules.linear()(300)
    # sigma_y^2 I + V is a fortieth of sigma_y^2: a step would be forty times as long as one with no V at all.
    sigma_y = 0.2
    slope = -(1 - 1 / 40) * sigma_y**2 * alpha_t / sigma_t**2
    x_y, x_hat = _estimate(slope, 0.6, sigma_y)
    np.testing.assert_allclose(x_y, x_hat, atol=1e-6)  # float32
    x_y, _ = _estimate(-slope, 0.6, sigma_y)
    # As much variance as noise, nearly: half of the way from 0.1 to 0.6.
    np.testing.assert_allclose(x_y, 0.1 + 0.5 * 39 / 79, atol=1e-5)  # float32


def test_clipping_bounds_the_estimate_of_the_posterior():
    free, clipped = (_estimate(5.0, 3.0, 0.1, clip=clip)[0] for clip in (False, True))
    assert float(free.min()) > 2
    np.testing.assert_array_equal(clipped, 1.0)


@pytest.mark.slow
def test_complex_measurements_are_real_ones_of_twice_the_length():
    scene, t = Scene("inpainting", components=1), 500
    with jax.enable_x64(True):
        x_t = jnp.asarray(scene.x_start.reshape(SHAPE))
        results = []
        for fn in (_spectrum, _parts):
            operator = rd.linear_operator(fn, SHAPE)
            problem = rd.problem(operator(x_t), operator, rd.gaussian(0.2))
            results.append(one_update(rd.mmps(scene.prior, eta=0.0), problem, x_t, 0 * x_t, t, -1))
    np.testing.assert_allclose(*results, atol=1e-12)  # float64


def _spectrum(x):
    return jnp.fft.fft2(x, axes=(0, 1), norm="ortho")[:, ::2]


def _parts(x):
    return jnp.stack([_spectrum(x).real, _spectrum(x).imag])


@pytest.mark.slow
def test_a_noiseless_measurement_that_misses_pixels_leaves_numbers(key):
    scene = Scene("inpainting", components=1)
    assert bool(rd.run(key, rd.mmps(scene.prior, num_steps=5), scene.problem).finite)


def test_noise_that_is_not_gaussian_is_an_error_that_names_the_remedy(key):
    solver = rd.mmps(rd.gaussian_prior(jnp.zeros(SHAPE), 1.0, rd.schedules.linear()), num_steps=2)
    with pytest.raises(TypeError, match=r"mmps needs Gaussian noise.*rd\.likelihood"):
        rd.run(key, solver, rd.problem(jnp.ones(SHAPE), rd.denoising(SHAPE), rd.poisson(1.0)))


def test_no_steps_of_conjugate_gradients_are_an_error():
    with pytest.raises(ValueError, match="num_cg is 0"):
        rd.mmps(rd.gaussian_prior(jnp.zeros(SHAPE), 1.0, rd.schedules.linear()), num_cg=0)
