"""DDRM: its updates against NumPy and deepinv, its marginals for a known image, and data consistency."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from dense import SHAPE, SHARP, Scene, check_walk, one_update, walk

import reddiff_jax as rd

SCENES = {"inpainting": 2, "super_resolution": 1}
every_scene = pytest.mark.parametrize(("task", "components"), SCENES.items(), ids=SCENES)


def _update(scene, z, x_t, t, s, eta=0.85, eta_b=0.7):
    u, singulars, vt = np.linalg.svd(scene.matrix)
    singulars = np.append(singulars, np.zeros(len(vt) - len(singulars)))
    x_hat, eps_hat, _ = scene.estimates(x_t, t)
    coefficients, eps, z = vt @ x_hat, vt @ eps_hat, vt @ z
    measured = np.append(u.T @ scene.y, np.zeros(len(vt) - len(u)))
    sigma = scene.sigmas[s] / scene.alphas[s]
    out = np.empty_like(x_t)
    for i, value in enumerate(singulars):
        x, along = coefficients[i], np.sqrt(1 - eta**2) * sigma
        if value < 1e-12:
            out[i] = x + along * eps[i] + eta * sigma * z[i]
        elif value * sigma < scene.sigma_y:
            out[i] = x + along * (measured[i] - value * x) / scene.sigma_y + eta * sigma * z[i]
        else:
            spread = np.sqrt(sigma**2 - (eta_b * scene.sigma_y / value) ** 2)
            out[i] = (1 - eta_b) * x + eta_b * measured[i] / value + spread * z[i]
    return scene.alphas[s] * vt.T @ out


@pytest.mark.parametrize("sigma_y", [0.0, 0.2])
@every_scene
def test_updates_are_the_papers(task, components, sigma_y):
    scene = Scene(task, components, sigma_y)
    check_walk(lambda prior: rd.ddrm(prior, eta_b=0.7), scene, _update)


@every_scene
def test_without_noise_the_result_explains_the_measurement(task, components):
    scene = Scene(task, components)
    np.testing.assert_allclose(scene.matrix @ walk(rd.ddrm, scene)[-1], scene.y, atol=SHARP)


def test_noise_in_what_was_not_measured_plays_no_part():
    scene = Scene("inpainting", components=2, sigma_y=0.2)
    other = np.where(scene.mask > 0, scene.y, 5.0)
    assert np.array_equal(walk(rd.ddrm, scene, y=other), walk(rd.ddrm, scene))


LEVELS = [(600, 400), (400, 100), (100, 10), (10, -1)]


@pytest.mark.parametrize(("t", "s"), LEVELS)
@pytest.mark.slow
def test_each_level_has_its_own_noise_where_the_estimate_is_the_true_image(t, s):
    # A prior that knows the image: x_s is affine in the noises of x_t, of y and of the step, all N(0, I).
    shape, sigma_y = (4, 4, 1), 0.2
    with jax.enable_x64(True):
        image, zeros = jnp.linspace(-1, 1, 16).reshape(shape), jnp.zeros(shape)
        solver = rd.ddrm(rd.gaussian_prior(image, 0.0, rd.schedules.linear()), eta_b=0.9)
        operator = rd.super_resolution(shape, 2)
        clean = rd.problem(operator(image), operator, rd.gaussian(sigma_y))
        (alpha_t, alpha_s), (sigma_t, sigma_s) = solver.scales(jnp.asarray(t), jnp.asarray(s))

        def x_s(e, n, z):
            problem = clean.replace(y=clean.y + sigma_y * n)
            return one_update(solver, problem, alpha_t * image + sigma_t * e, z, t, s).ravel()

        jacobians = jax.jacobian(x_s, argnums=(0, 1, 2))(zeros, jnp.zeros(operator.out_shape), zeros)
        covariance = sum(j.reshape(16, -1) @ j.reshape(16, -1).T for j in jacobians)
        mean = x_s(zeros, jnp.zeros(operator.out_shape), zeros)
        np.testing.assert_allclose(mean, alpha_s * image.ravel(), atol=1e-12)  # float64
        np.testing.assert_allclose(covariance, sigma_s**2 * np.eye(16), atol=1e-12)


@pytest.mark.oracle
def test_runs_are_deepinvs(monkeypatch):
    deepinv = oracles.deepinv()
    import torch

    scene = Scene("inpainting", components=1, sigma_y=0.2)
    mean, variance, mask, y = (
        torch.tensor(array.reshape(1, 1, 8, 8)) for array in (scene.means[0], scene.variances[0], scene.mask, scene.y)
    )
    timesteps = np.round(np.linspace(999, 0, 20)).astype(int)
    noise = iter([scene.x_start, *scene.z])
    # It divides what it draws by sqrt(2), and ends with the estimate at the last level.
    monkeypatch.setattr(torch, "randn_like", lambda x: 2**0.5 * torch.tensor(next(noise).reshape(1, 1, 8, 8)))
    physics = deepinv.physics.Inpainting((1, 8, 8), mask=mask, noise_model=deepinv.physics.GaussianNoise(0.2))
    model = deepinv.sampling.DDRM(
        lambda x, sigma: mean + variance / (variance + sigma**2) * (x - mean),
        sigmas=scene.sigmas[timesteps] / scene.alphas[timesteps],
        eps=0.0,
    )
    expected = model(y, physics).numpy().reshape(SHAPE)
    with jax.enable_x64(True):
        solver, problem = rd.ddrm(scene.prior), scene.problem
        x_t = solver.first_x_t(scene.x_start.reshape(SHAPE), jnp.zeros(SHAPE), problem)
        for k in range(19):
            x_t = one_update(solver, problem, x_t, scene.z[k].reshape(SHAPE), *solver.levels(jnp.asarray(k)))
        actual = solver.prior.denoise(x_t, 0)
    np.testing.assert_allclose(actual, expected, atol=1e-7)  # its noise level is 0.2 in float32


def test_an_operator_without_singular_values_is_an_error(key):
    prior = rd.gaussian_prior(jnp.zeros(SHAPE), 1.0, rd.schedules.linear())
    with pytest.raises(TypeError, match=r"ddrm needs a SpectralOperator; PaddedBlur .* rd\.dps or rd\.reddiff"):
        rd.run(key, rd.ddrm(prior), rd.problem(jnp.zeros(SHAPE), rd.blur(np.full((3, 3), 1 / 9), SHAPE)))


def test_a_weight_of_the_measurement_out_of_range_is_an_error():
    with pytest.raises(ValueError, match="eta_b is 2"):
        rd.ddrm(rd.gaussian_prior(jnp.zeros(SHAPE), 1.0, rd.schedules.linear()), eta_b=2.0)
