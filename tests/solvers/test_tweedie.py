"""Denoising by Tweedie's formula: closed-form posterior means, the views, and what the default solver makes of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd
from reddiff_jax import settings, tuning

SHAPE = (6, 6, 2)
SCHEDULE = rd.schedules.linear()


@pytest.fixture
def y(rng):
    return jnp.asarray(rng.uniform(-1, 1, SHAPE), jnp.float32)


def _problem(y, sigma):
    return rd.problem(y, rd.denoising(y.shape), rd.gaussian(sigma))


def _gaussian(rng):
    return rd.gaussian_prior(jnp.asarray(rng.uniform(-0.5, 0.5, SHAPE), jnp.float32), 0.09, SCHEDULE)


@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.5])
def test_one_view_is_the_posterior_mean(sigma, y, rng, key):
    prior = _gaussian(rng)
    found = rd.run(key, rd.tweedie(prior, num_steps=1), _problem(y, sigma)).x
    weight = 0.09 / (0.09 + sigma**2)
    expected = weight * np.asarray(y) + (1 - weight) * np.asarray(prior.mean)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_below_the_lowest_level_it_goes_to_the_measurement(y, rng, key):
    solver = rd.tweedie(_gaussian(rng), num_steps=1)
    assert SCHEDULE.sigmas[0] / SCHEDULE.alphas[0] > 0.005
    np.testing.assert_array_equal(rd.run(key, solver, _problem(y, 0.0)).x, y)
    # The score of a Gaussian hardly changes between noise levels far below its own width.
    weight = 0.09 / (0.09 + 0.005**2)
    expected = weight * np.asarray(y) + (1 - weight) * np.asarray(solver.prior.mean)
    np.testing.assert_allclose(rd.run(key, solver, _problem(y, 0.005)).x, expected, atol=2e-6)


@pytest.mark.parametrize("num_steps", [2, 4, 8])
def test_views_are_all_different_and_come_back(num_steps, y, rng):
    solver = rd.tweedie(_gaussian(rng), num_steps=num_steps)
    views = [np.asarray(solver.view(y, jnp.asarray(number))) for number in range(num_steps)]
    assert len({view.tobytes() for view in views}) == num_steps
    for number, view in enumerate(views):
        np.testing.assert_array_equal(solver.view_back(jnp.asarray(view), jnp.asarray(number)), y)


def test_the_mean_over_views_is_that_of_the_turned_pictures(y, rng, key):
    prior = _gaussian(rng)  # its mean is not symmetric: each view is denoised otherwise
    found = rd.run(key, rd.tweedie(prior), _problem(y, 0.3)).x
    weight = 0.09 / (0.09 + 0.3**2)
    turned = [np.rot90(mean, k) for mean in (prior.mean, np.swapaxes(prior.mean, 0, 1)) for k in range(4)]
    np.testing.assert_allclose(found, weight * np.asarray(y) + (1 - weight) * np.mean(turned, axis=0), atol=2e-5)


def test_an_image_as_condition_is_viewed_with_the_picture(y, key):
    def towards_the_condition(x_t, t, cond):
        alpha_t, sigma_t = SCHEDULE(t)
        return (x_t - alpha_t * cond["image"]) / sigma_t + 0 * cond["label"]

    problem = _problem(y, 0.1).replace(cond={"image": -y, "label": jnp.asarray(3.0)})
    found = rd.run(key, rd.tweedie(rd.prior(towards_the_condition, SCHEDULE)), problem).x
    np.testing.assert_allclose(found, -y, atol=1e-5)


def test_pictures_that_are_not_square_have_four_views(key):
    y = jnp.linspace(-1, 1, 60).reshape(4, 5, 3)
    prior = rd.gaussian_prior(jnp.zeros(y.shape), 0.09, SCHEDULE)
    with pytest.raises(ValueError, match="num_steps is 8 but must be 4 at most for a picture of 5 x 4"):
        rd.run(key, rd.tweedie(prior), _problem(y, 0.1))
    assert rd.default_solver(prior, _problem(y, 0.1)).num_steps == 4
    assert rd.run(key, rd.tweedie(prior, num_steps=4), _problem(y, 0.1)).x.shape == y.shape


def test_a_picture_in_a_frame_is_denoised_as_it_is_mirrored_into_it(y, rng, key):
    from reddiff_jax.jobs import framing

    rows = columns = jnp.asarray([0, 1, 2, 3, 4, 3])
    operator = framing.LinearFramed(SHAPE, rd.denoising(SHAPE), rows, columns)
    problem = rd.problem(operator(y), operator, rd.gaussian(0.2))
    whole = _problem(y[rows][:, columns], 0.2)
    solver = rd.tweedie(_gaussian(rng))
    np.testing.assert_array_equal(rd.run(key, solver, problem).x, rd.run(key, solver, whole).x)


def test_it_is_the_default_for_noise_alone(y, rng):
    prior = _gaussian(rng)
    chosen = rd.default_solver(prior, _problem(y, 0.1))
    assert isinstance(chosen, rd.solvers.Tweedie)
    assert chosen.num_steps == 8
    masked = rd.problem(y, rd.inpainting(jnp.ones((6, 6)), channels=2), rd.gaussian(0.1))
    poisson = rd.problem(y, rd.denoising(SHAPE), rd.poisson(100.0))
    assert {settings.default_name(each) for each in (masked, poisson)} == {"noise_aware", "reddiff"}
    drawn = rd.default_solver(prior, _problem(y, 0.1), sample=True)
    assert isinstance(drawn, rd.solvers.RedDiff)


@pytest.mark.parametrize(
    ("num_steps", "error", "said"),
    [(0, ValueError, "at least 1"), (9, ValueError, "from 1 to 8"), (2.5, TypeError, "a whole number")],
)
def test_impossible_numbers_of_views_are_errors(num_steps, error, said, rng):
    with pytest.raises(error, match=said):
        rd.tweedie(_gaussian(rng), num_steps=num_steps)


def test_other_operators_and_noises_are_errors(y, rng, key):
    solver = rd.tweedie(_gaussian(rng))
    with pytest.raises(TypeError, match=r"Inpainting is not that operator\. Use rd\.default_solver"):
        solver.init(key, rd.problem(y, rd.inpainting(jnp.ones((6, 6)), channels=2), rd.gaussian(0.1)))
    with pytest.raises(TypeError, match="tweedie needs Gaussian noise"):
        solver.init(key, rd.problem(y, rd.denoising(SHAPE), rd.poisson(100.0)))


def test_it_cannot_be_tuned(rng):
    pictures = jnp.asarray(rng.uniform(-1, 1, (1, *SHAPE)), jnp.float32)
    with pytest.raises(ValueError, match="tweedie has no settings to search; name another solver"):
        tuning.tune(jax.random.key(0), _gaussian(rng), "denoise", 0.1, pictures)
