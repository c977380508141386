"""DDIM: its update against NumPy and azula, and the law that it carries noise to."""

import azula_oracle
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dense import SHAPE, Scene, check_walk, one_update, walk

import reddiff_jax as rd
from reddiff_jax import schedules

PRIOR = rd.gaussian_prior(jnp.full((4, 4, 1), 0.3), 0.09, schedules.linear())
NOTHING = rd.unconditional((4, 4, 1))


def test_updates_are_the_formulas():
    def update(scene, z, x_t, t, s):
        x_hat, eps_hat, _ = scene.estimates(x_t, t)
        return scene.ddim(z, x_hat, eps_hat, t, s, eta=0.7)

    check_walk(lambda prior: rd.ddim(prior, eta=0.7, num_steps=20), Scene("inpainting", components=2), update)


@pytest.mark.oracle
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_an_update_is_azulas(eta, monkeypatch):
    scene = Scene("inpainting", components=1)
    expected = azula_oracle.step(scene, "ddim", monkeypatch, 600, 400, eta=eta)
    with jax.enable_x64(True):
        x = scene.x_start.reshape(SHAPE)
        actual = one_update(rd.ddim(scene.prior, eta=eta), scene.problem, x, scene.z[0].reshape(SHAPE), 600, 400)
    np.testing.assert_allclose(actual, expected, rtol=1e-10)  # float64, one step


def _transport_error(num_steps: int) -> float:
    """How far a deterministic run ends from where the exact flow carries its start."""
    alpha_t, sigma_t = map(float, PRIOR.schedule(999))
    solver = rd.ddim(PRIOR, num_steps=num_steps)
    key = jax.random.key(1)
    x_t = solver.init(jax.random.fold_in(key, 0), NOTHING).x_t
    exact = 0.3 + 0.3 * (x_t - alpha_t * 0.3) / np.sqrt(alpha_t**2 * 0.09 + sigma_t**2)
    return float(jnp.abs(rd.run(key, solver, NOTHING).x - exact).max())


@pytest.mark.slow
def test_noise_is_carried_to_a_gaussian_along_the_exact_flow_with_an_error_of_first_order():
    coarse, fine = _transport_error(100), _transport_error(1000)
    # Of a standard deviation of 0.3. Ten times the steps: a tenth of the error, as for any Euler scheme.
    assert coarse < 0.05
    assert fine < 0.15 * coarse


def test_with_fresh_noise_the_samples_have_the_priors_mean_and_variance():
    shape = (64, 64, 1)
    prior = rd.gaussian_prior(jnp.full(shape, 0.3), 0.09, schedules.linear())
    x = rd.run(jax.random.key(2), rd.ddim(prior, eta=1.0, num_steps=1000), rd.unconditional(shape)).x
    # 4096 independent pixels: 4 standard errors of the mean and of the standard deviation.
    np.testing.assert_allclose(np.mean(x), 0.3, atol=4 * 0.3 / 64)
    np.testing.assert_allclose(np.std(x), 0.3, rtol=4 / np.sqrt(2 * 4096))


def test_the_initial_image_is_carried_to_the_middle_level(key):
    solver = rd.ddim(PRIOR, init=rd.solvers.init_given, spacing=schedules.between(500), num_steps=20)
    initial = jnp.arange(16.0).reshape(4, 4, 1)
    given, zero = (solver.init(key, NOTHING.replace(init=image)).x_t for image in (initial, 0 * initial))
    alpha_t, sigma_t = PRIOR.schedule(500)
    np.testing.assert_allclose(given - zero, alpha_t * initial, atol=1e-6)  # float32, sums of order 4
    assert 0.5 * sigma_t < np.std(zero) < 1.5 * sigma_t


def test_the_initial_image_survives_a_late_start_and_not_an_early_one(key):
    problem = NOTHING.replace(init=jnp.full((4, 4, 1), -0.6))
    late, early = (
        rd.run(key, rd.ddim(PRIOR, init=rd.solvers.init_given, spacing=schedules.between(t), num_steps=20), problem).x
        for t in (20, 999)
    )
    # The flow of x_20 = alpha g + sigma z ends at 0.3 + 0.97 (g - 0.3) + 0.09 z; the mean of 16 z is below 1.
    assert np.mean(late) < -0.45
    assert np.mean(early) > 0


def test_what_is_measured_plays_no_part():
    scene = Scene("inpainting", components=2)
    one, other = (walk(lambda prior: rd.ddim(prior, num_steps=20), scene, y=y) for y in (scene.y, scene.y + 1))
    assert np.array_equal(one, other)


@pytest.mark.parametrize("eta", [-0.1, 1.5, float("nan")])
def test_an_eta_out_of_range_is_an_error(eta):
    with pytest.raises(ValueError, match="between 0"):
        rd.ddim(PRIOR, eta=eta)


def test_an_initial_image_of_another_shape_is_an_error(key):
    with pytest.raises(ValueError, match=r"init returned shape"):
        rd.ddim(PRIOR, init=lambda *_: jnp.zeros((2, 2, 1))).init(key, NOTHING)
