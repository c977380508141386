"""MCG: its updates against NumPy, and data consistency."""

import jax.numpy as jnp
import numpy as np
import pytest
from dense import SHAPE, SHARP, Scene, check_walk, walk

import reddiff_jax as rd

SCENES = {"inpainting": 2, "super_resolution": 1}
every_scene = pytest.mark.parametrize(("task", "components"), SCENES.items(), ids=SCENES)


def _update(weight):
    def update(scene, z, x_t, t, s):
        projection = scene.pinv @ scene.matrix
        x_hat, eps_hat, jacobian = scene.estimates(x_t, t)
        difference = scene.pinv @ scene.y - projection @ x_hat
        gradient = -2 * jacobian.T @ projection.T @ difference
        unseen = scene.ddim(z, x_hat, eps_hat, t, s, eta=1.0) - weight(scene.alphas[t], difference) * gradient
        seen = scene.alphas[s] * scene.pinv @ scene.y + scene.sigmas[s] * z
        return unseen - projection @ unseen + projection @ seen

    return update


@every_scene
def test_updates_are_the_papers(task, components):
    update = _update(lambda alpha_t, difference: 0.3 / np.linalg.norm(difference))
    check_walk(lambda prior: rd.mcg(prior, scale=0.3, num_steps=20), Scene(task, components), update)


def test_updates_without_normalisation_are_the_published_ones():
    scene, update = Scene("inpainting", components=2), _update(lambda alpha_t, difference: 0.01 * alpha_t)
    check_walk(lambda prior: rd.mcg(prior, scale=0.01, normalized=False, num_steps=20), scene, update)


@every_scene
def test_the_result_explains_the_measurement(task, components):
    scene = Scene(task, components)
    x = walk(lambda prior: rd.mcg(prior, num_steps=20), scene)[-1]
    np.testing.assert_allclose(scene.matrix @ x, scene.y, atol=SHARP)


def _square(x):
    return x**2


def test_a_nonlinear_operator_is_an_error(key):
    prior = rd.gaussian_prior(jnp.zeros(SHAPE), 1.0, rd.schedules.linear())
    problem = rd.problem(jnp.zeros(SHAPE), rd.operator(_square, SHAPE, pinv=jnp.sqrt))
    with pytest.raises(TypeError, match=r"mcg needs a LinearOperator; FunctionOperator .* rd\.dps or rd\.reddiff"):
        rd.mcg(prior).init(key, problem)
