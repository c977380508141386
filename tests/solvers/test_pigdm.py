"""PiGDM: its updates against NumPy, azula and deepinv, and the prior for which it is exact."""

import azula_oracle
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from dense import SHAPE, SHARP, N, Scene, check_walk, one_update, walk

import reddiff_jax as rd

SCENES = {"inpainting": 2, "super_resolution": 1}
every_scene = pytest.mark.parametrize(("task", "components"), SCENES.items(), ids=SCENES)
PADDED = rd.blur(np.full((3, 3), 1 / 9), SHAPE)


def _update(weight, sigma_y=None, eta=0.8, contrast=0.0, replace=False, recompute=False):
    def update(scene, z, x_t, t, s):
        a, sigma, matrix = scene.alphas[t], scene.sigmas[t], scene.matrix
        x_hat, eps_hat, jacobian = scene.estimates(x_t, t)
        residual = scene.y - matrix @ x_hat
        if sigma_y is None:
            v = scene.pinv @ residual
        else:
            r2 = sigma**2 / (a**2 + sigma**2)
            covariance = r2 * matrix @ matrix.T + sigma_y**2 * np.eye(len(matrix))
            v = r2 * matrix.T @ np.linalg.solve(covariance, residual)
        v = v + contrast * (x_hat - x_hat.mean()) / ((N - 1) * x_hat.std(ddof=1))
        g = jacobian.T @ v
        if replace:
            x_hat = x_hat * (1 - scene.mask) + scene.y * scene.mask
            g = g * (1 - scene.mask)
        if recompute:
            eps_hat = (x_t - a * x_hat) / sigma
        c2 = scene.ddim_scales(t, s, eta)[1]
        return scene.ddim(z, x_hat, eps_hat, t, s, eta) + weight(a, scene.alphas[s], sigma, c2) * g

    return update


def _alphas(a_t, a_s, s_t, c2):
    return a_t * a_s


@every_scene
@pytest.mark.slow
def test_updates_know_the_noise(task, components):
    scene = Scene(task, components, sigma_y=0.2)
    check_walk(lambda prior: rd.pigdm(prior, eta=0.8, num_steps=20), scene, _update(_alphas, sigma_y=0.2))


@every_scene
def test_noiseless_updates_are_the_published_ones(task, components):
    scene = Scene(task, components, sigma_y=0.2)
    check_walk(lambda prior: rd.pigdm(prior, eta=0.8, noisy=False, num_steps=20), scene, _update(_alphas))


def test_updates_with_all_options_of_the_published_code():
    scene = Scene("inpainting", components=2)

    def weight(a_t, a_s, s_t, c2):
        return 0.9 * a_t * (a_s - c2 * a_t / s_t)

    def make(prior):
        return rd.pigdm(
            prior,
            scale=0.9,
            eta=0.8,
            num_steps=20,
            noisy=False,
            weight=rd.solvers.pigdm_decayed,
            replace_observed=True,
            recompute_eps=True,
            contrast=2.0,
        )

    check_walk(make, scene, _update(weight, contrast=2.0, replace=True, recompute=True))
    np.testing.assert_allclose(scene.matrix @ walk(make, scene)[-1], scene.y, atol=SHARP)


@every_scene
def test_without_noise_the_noisy_form_is_the_noiseless_one(task, components):
    scene = Scene(task, components)
    noisy, noiseless = (walk(lambda prior, n=n: rd.pigdm(prior, noisy=n, num_steps=20), scene) for n in (True, False))
    np.testing.assert_allclose(noisy, noiseless, rtol=SHARP, atol=SHARP)


@pytest.mark.slow
def test_the_prior_N_0_I_is_sampled_exactly_given_y_in_the_limit_of_many_steps():
    shape, sigma_y = (4, 4, 1), 0.3
    prior = rd.gaussian_prior(jnp.zeros(shape), 1.0, rd.schedules.linear())
    operator = rd.super_resolution(shape, 2)
    y = jnp.asarray([[0.5, -1.0], [0.2, 0.8]]).reshape(2, 2, 1)
    problem = rd.problem(y, operator, rd.gaussian(sigma_y))
    solver = rd.pigdm(prior, eta=0.0, num_steps=1000, weight=rd.solvers.pigdm_posterior, init=rd.solvers.init_zeros)

    @jax.jit
    @jax.vmap
    def flow(z):
        step = jnp.zeros((), jnp.int32)
        state = rd.solvers.SamplerState(solver.first_x_t(z, jnp.zeros(shape), problem), step)
        return rd.run(jax.random.key(0), solver, problem, state=state, num_steps=1000).x

    # The flow is affine: its value at zero is the mean, its matrix F makes the covariance F F^T.
    unit = jnp.concatenate([jnp.zeros((1, 16)), jnp.eye(16)]).reshape(-1, *shape)
    ends = np.asarray(flow(unit)).reshape(-1, 16)
    matrix = np.kron(np.kron(np.eye(2), [[0.5, 0.5]]), np.kron(np.eye(2), [[0.5, 0.5]]))
    precision = np.eye(16) + matrix.T @ matrix / sigma_y**2
    mean = np.linalg.solve(precision, matrix.T @ np.ravel(y)) / sigma_y**2
    covariance = (ends[1:] - ends[0]).T @ (ends[1:] - ends[0])
    # Of numbers of order 1: 1000 Euler steps, from a start that knows nothing of y where alpha = 0.006.
    np.testing.assert_allclose(ends[0], mean, atol=0.01)
    np.testing.assert_allclose(covariance, np.linalg.inv(precision), atol=0.01)


@pytest.mark.oracle
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_a_noiseless_update_is_azulas(eta, monkeypatch):
    scene = Scene("super_resolution", components=1, sigma_y=0.1)
    expected = azula_oracle.step(scene, "pigdm", monkeypatch, 600, 400, eta=eta, maps=["A", "A_inv"])
    with jax.enable_x64(True):
        solver = rd.pigdm(scene.prior, eta=eta, noisy=False)
        x_t, z = (array.reshape(SHAPE) for array in (scene.x_start, scene.z[0]))
        actual = one_update(solver, scene.problem, x_t, z, 600, 400)
    np.testing.assert_allclose(actual, expected, rtol=1e-10)  # float64, one step


@pytest.mark.oracle
def test_the_noisy_guidance_is_deepinvs():
    deepinv = oracles.deepinv()
    import torch

    scene, t, sigma_y = Scene("inpainting", components=1, sigma_y=0.2), 500, 0.2
    a, sigma = scene.alphas[t], scene.sigmas[t]
    mean, variance, mask, y, x_t = (
        torch.tensor(array.reshape(1, 1, 8, 8), dtype=torch.float32)
        for array in (scene.means[0], scene.variances[0], scene.mask, scene.y * scene.mask, scene.x_start)
    )

    class Exact(torch.nn.Module):
        def forward(self, x, sigma, *args, **kwargs):
            return mean + variance / (variance + sigma**2) * (x - mean)

    physics = deepinv.physics.Inpainting((1, 8, 8), mask=mask, noise_model=deepinv.physics.GaussianNoise(sigma_y))
    fidelity = deepinv.sampling.noisy_datafidelity.PiGDMDataFidelity(Exact())
    ratio = torch.tensor(sigma / a, dtype=torch.float32)
    descent = fidelity.grad(x_t / float(a), y, physics, ratio)
    # It differentiates by x_t / alpha_t, and has no factor r_t^2.
    expected = -descent.numpy().reshape(SHAPE) * sigma**2 / a
    with jax.enable_x64(True):
        solver = rd.pigdm(scene.prior, weight=rd.solvers.pigdm_alpha_t)
        x = scene.x_start.reshape(SHAPE)
        guided, free = (
            np.asarray(one_update(solver.replace(scale=jnp.asarray(scale)), scene.problem, x, 0 * x, t, 300))
            for scale in (1.0, 0.0)
        )
    np.testing.assert_allclose((guided - free) / a, expected, atol=1e-5)  # float32 of order 1


def test_an_operator_without_singular_values_is_an_error_that_names_the_noiseless_form(key):
    prior = rd.gaussian_prior(jnp.zeros(SHAPE), 1.0, rd.schedules.linear())
    problem = rd.problem(jnp.zeros(SHAPE), PADDED)
    with pytest.raises(TypeError, match=r"pigdm needs a SpectralOperator; PaddedBlur .* noisy=False"):
        rd.pigdm(prior).init(key, problem)
    rd.pigdm(prior, noisy=False, init=rd.solvers.init_zeros).init(key, problem)


def test_noise_that_is_not_gaussian_is_an_error(key):
    prior = rd.gaussian_prior(jnp.zeros(SHAPE), 1.0, rd.schedules.linear())
    problem = rd.problem(jnp.zeros(SHAPE), rd.denoising(SHAPE)).replace(noise=None)
    with pytest.raises(TypeError, match=r"pigdm needs Gaussian noise"):
        rd.pigdm(prior).init(key, problem)
