"""DPS: its updates against NumPy and azula, in the DDIM form and in the original one."""

import azula_oracle
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dense import SHAPE, Scene, check_walk, one_update, walk

import reddiff_jax as rd

SCENES = {"inpainting": 2, "super_resolution": 1}
every_scene = pytest.mark.parametrize(("task", "components"), SCENES.items(), ids=SCENES)


def _update(weight, clip=False, eta=0.5):
    def update(scene, z, x_t, t, s):
        x_hat, eps_hat, jacobian = scene.estimates(x_t, t)
        if clip:
            jacobian = jacobian * (np.abs(x_hat) <= 1)[:, None]
            x_hat = np.clip(x_hat, -1, 1)
            eps_hat = (x_t - scene.alphas[t] * x_hat) / scene.sigmas[t]
        residual = scene.y - scene.matrix @ x_hat
        gradient = -2 * jacobian.T @ scene.matrix.T @ residual
        x_s = scene.ddim(z, x_hat, eps_hat, t, s, eta)
        return x_s - weight(np.linalg.norm(residual), scene.alphas[t], scene.alphas[s]) * gradient

    return update


@every_scene
def test_updates_are_the_published_ones(task, components):
    scene = Scene(task, components, sigma_y=0.1)
    update = _update(lambda norm, alpha_t, alpha_s: 0.3 / norm)
    check_walk(lambda prior: rd.dps(prior, scale=0.3, num_steps=20), scene, update)


def test_updates_without_normalisation_are_the_published_ones():
    update = _update(lambda norm, alpha_t, alpha_s: alpha_t * alpha_s)
    scene = Scene("super_resolution", components=1)
    check_walk(lambda prior: rd.dps(prior, scale=1.0, normalized=False, num_steps=20), scene, update)


def test_updates_of_the_original_clip_the_estimate():
    scene = Scene("inpainting", components=2)
    scene.means *= 4
    scene.y *= 4
    clipped, plain = (_update(lambda norm, *_: 0.3 / norm, clip=clip, eta=1.0) for clip in (True, False))
    check_walk(lambda prior: rd.dps(prior, scale=0.3, eta=1.0, clip=True, num_steps=20), scene, clipped)
    assert np.abs(scene.walk(clipped) - scene.walk(plain)).max() > 0.1


@pytest.mark.oracle
@pytest.mark.parametrize(("t", "s"), [(600, 400), (50, -1)])
def test_an_update_of_the_original_is_azulas_at_half_the_scale(t, s, monkeypatch):
    scene = Scene("super_resolution", components=1, sigma_y=0.1)
    # It steps along the gradient of |r|, not of |r|^2 / |r|.
    expected = azula_oracle.step(scene, "dps", monkeypatch, t, s, zeta=0.8, maps=["A"])
    with jax.enable_x64(True):
        solver = rd.dps(scene.prior, scale=0.4, eta=1.0)
        x_t, z = (array.reshape(SHAPE) for array in (scene.x_start, scene.z[0]))
        actual = one_update(solver, scene.problem, x_t, z, t, s)
    np.testing.assert_allclose(actual, expected, rtol=1e-10)  # float64, one step


def _curve(x):
    return x[::2] ** 2


def _spectrum(x):
    return jnp.fft.fft2(x, axes=(0, 1), norm="ortho")[:, ::2]


@pytest.mark.parametrize("make", [rd.operator, rd.linear_operator], ids=["nonlinear", "complex"])
def test_the_guidance_is_the_gradient_of_the_norm_for_any_operator(make):
    scene = Scene("inpainting", components=1)
    with jax.enable_x64(True):
        prior, t, s = scene.prior, 500, 300
        x_t, x = (jnp.asarray(array.reshape(SHAPE)) for array in (scene.x_start, scene.means[0] + 0.3))
        operator = make(_curve if make is rd.operator else _spectrum, SHAPE)
        problem = rd.problem(operator(x), operator)
        solver = rd.dps(prior, scale=0.25, init=rd.solvers.init_zeros)
        guided, free = (
            one_update(solver.replace(scale=jnp.asarray(scale)), problem, x_t, 0 * x_t, t, s) for scale in (0.25, 0.0)
        )

        def norm(x_t):
            return jnp.sqrt(jnp.sum(jnp.abs(operator(prior.denoise(x_t, t)) - problem.y) ** 2))

        np.testing.assert_allclose(free - guided, 0.25 * 2 * jax.jit(jax.grad(norm))(x_t), atol=1e-12)  # float64


def test_a_measurement_that_fits_exactly_guides_nowhere():
    scene = Scene("inpainting", components=2)
    scene.mask, scene.y = 0 * scene.mask, 0 * scene.y
    guided, free = (walk(lambda prior, s=scale: rd.dps(prior, scale=s, num_steps=20), scene) for scale in (0.3, 0.0))
    assert np.isfinite(guided).all()
    assert np.array_equal(guided, free)


def test_guidance_lowers_the_residual():
    scene = Scene("inpainting", components=2)
    guided, free = (walk(lambda prior, s=scale: rd.dps(prior, scale=s, num_steps=20), scene) for scale in (0.3, 0.0))
    residuals = [np.linalg.norm(scene.matrix @ x[-1] - scene.y) for x in (guided, free)]
    assert residuals[0] < 0.5 * residuals[1]


def test_a_negative_scale_is_an_error():
    with pytest.raises(ValueError, match="scale is -1"):
        rd.dps(rd.gaussian_prior(jnp.zeros((2, 2, 1)), 1.0, rd.schedules.linear()), scale=-1.0)
