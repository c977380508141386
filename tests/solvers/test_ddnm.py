"""DDNM and DDNM+: their updates against NumPy, the noise they count, and data consistency."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dense import SHAPE, SHARP, Scene, check_walk, one_update, walk

import reddiff_jax as rd

SCENES = {"inpainting": 2, "super_resolution": 1}
every_scene = pytest.mark.parametrize(("task", "components"), SCENES.items(), ids=SCENES)


def _posterior(scene, t, s):
    """Factors of x_0 and x_t in the mean of q(x_s | x_t, x_0), and its standard deviation (Ho et al. 2020, eq. 7)."""
    ab_t, ab_s = scene.alphas[t] ** 2, scene.alphas[s] ** 2
    beta = 1 - ab_t / ab_s
    of_x0, of_x_t = np.sqrt(ab_s) * beta / (1 - ab_t), np.sqrt(ab_t / ab_s) * (1 - ab_s) / (1 - ab_t)
    return of_x0, of_x_t, np.sqrt(beta * (1 - ab_s) / (1 - ab_t))


def _noiseless(scene, z, x_t, t, s):
    of_x0, of_x_t, deviation = _posterior(scene, t, s)
    x_hat = scene.estimates(x_t, t)[0]
    x_hat = scene.pinv @ scene.y + x_hat - scene.pinv @ scene.matrix @ x_hat
    return of_x0 * x_hat + of_x_t * x_t + deviation * z


def _noisy(scene, z, x_t, t, s):
    of_x0, of_x_t, deviation = _posterior(scene, t, s)
    _, singulars, vt = np.linalg.svd(scene.matrix)
    x_hat = scene.estimates(x_t, t)[0]
    lam, gamma = np.ones(len(vt)), np.full(len(vt), deviation**2)
    for i, value in enumerate(singulars):
        if value > 1e-12:
            brought = of_x0 * scene.sigma_y / value
            lam[i] = 1.0 if deviation >= brought else deviation / brought
            gamma[i] = deviation**2 - (lam[i] * brought) ** 2
    x_hat = x_hat - vt.T @ (lam * (vt @ scene.pinv @ (scene.matrix @ x_hat - scene.y)))
    return of_x0 * x_hat + of_x_t * x_t + vt.T @ (np.sqrt(np.maximum(gamma, 0)) * (vt @ z))


@every_scene
def test_updates_are_the_papers(task, components):
    scene = Scene(task, components, sigma_y=0.2)
    check_walk(lambda prior: rd.ddnm(prior, noisy=False, num_steps=20), scene, _noiseless)


@every_scene
def test_updates_with_noise_are_the_papers(task, components):
    scene = Scene(task, components, sigma_y=0.2)
    check_walk(lambda prior: rd.ddnm(prior, num_steps=20), scene, _noisy)


@every_scene
def test_without_noise_both_forms_are_one_and_explain_the_measurement(task, components):
    scene = Scene(task, components)
    plus, plain = (walk(lambda prior, n=noisy: rd.ddnm(prior, noisy=n, num_steps=20), scene) for noisy in (True, False))
    np.testing.assert_allclose(plus, plain, rtol=SHARP, atol=SHARP)
    np.testing.assert_allclose(scene.matrix @ plus[-1], scene.y, atol=SHARP)


@pytest.mark.slow
@pytest.mark.parametrize("eta", [1.0, 0.6])
@pytest.mark.parametrize(("t", "s"), [(600, 400), (100, 10), (10, 5), (10, -1)])
def test_the_noise_of_the_measurement_and_the_fresh_one_make_the_transitions(t, s, eta):
    # A prior that knows the image: x_s is affine in the noises of y and of the step, both N(0, I).
    shape, sigma_y = (4, 4, 1), 0.2
    with jax.enable_x64(True):
        image = jnp.linspace(-1, 1, 16).reshape(shape)
        solver = rd.ddnm(rd.gaussian_prior(image, 0.0, rd.schedules.linear()), eta=eta)
        operator = rd.super_resolution(shape, 2)
        clean = rd.problem(operator(image), operator, rd.gaussian(sigma_y))
        alphas, sigmas = solver.scales(jnp.asarray(t), jnp.asarray(s))
        x_t = alphas[0] * image

        def x_s(n, z):
            return one_update(solver, clean.replace(y=clean.y + sigma_y * n), x_t, z, t, s).ravel()

        jacobians = jax.jacobian(x_s, argnums=(0, 1))(jnp.zeros(operator.out_shape), jnp.zeros(shape))
        covariance = sum(j.reshape(16, -1) @ j.reshape(16, -1).T for j in jacobians)
        variance = eta**2 * sigmas[1] ** 2 * (1 - (alphas[0] * sigmas[1] / (alphas[1] * sigmas[0])) ** 2)
        np.testing.assert_allclose(covariance, variance * np.eye(16), atol=1e-12)  # float64


def test_an_operator_without_singular_values_is_an_error_that_names_the_noiseless_form(key):
    prior = rd.gaussian_prior(jnp.zeros(SHAPE), 1.0, rd.schedules.linear())
    problem = rd.problem(jnp.zeros(SHAPE), rd.blur(np.full((3, 3), 1 / 9), SHAPE))
    with pytest.raises(TypeError, match=r"ddnm needs a SpectralOperator; PaddedBlur .* noisy=False"):
        rd.ddnm(prior).init(key, problem)
    rd.ddnm(prior, noisy=False, init=rd.solvers.init_zeros).init(key, problem)
