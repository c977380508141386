"""Gaussian noise: its samples, its likelihood, its checks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd


def test_noise_has_the_standard_deviation_asked_for(key):
    noisy = rd.gaussian(0.3).sample(key, jnp.full((100, 100, 3), 2.0))
    # 30,000 draws: the standard error of the deviation is 0.4 %; four of them.
    np.testing.assert_allclose(jnp.std(noisy - 2.0), 0.3, rtol=0.016)


def test_complex_noise_has_it_in_each_part(key):
    noisy = rd.gaussian(0.3).sample(key, jnp.zeros((150, 200), jnp.complex64))
    assert noisy.dtype == jnp.complex64
    np.testing.assert_allclose([jnp.std(noisy.real), jnp.std(noisy.imag)], 0.3, rtol=0.016)  # as above


def test_the_parts_of_complex_noise_are_independent(key):
    noisy = rd.gaussian(1.0).sample(key, jnp.zeros((100, 100), jnp.complex64))
    # A correlation of 10,000 independent pairs has standard error 0.01; four of them.
    assert abs(np.corrcoef(noisy.real.ravel(), noisy.imag.ravel())[0, 1]) < 0.04


def test_no_noise_is_no_change(key):
    y = jnp.arange(6.0).reshape(1, 2, 3)
    assert np.array_equal(rd.gaussian().sample(key, y), y)


def test_same_key_same_noise_and_another_key_another(key):
    y = jnp.zeros((4, 4, 3))
    draw = rd.gaussian(0.1).sample
    assert np.array_equal(draw(key, y), draw(key, y))
    assert not np.array_equal(draw(key, y), draw(jax.random.key(1), y))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.complex64])
def test_nll_is_half_the_squared_distance_over_the_variance(rng, dtype):
    y, y_hat = rng.normal(size=(2, 5, 4)) + (1j if dtype == jnp.complex64 else 0) * rng.normal(size=(2, 5, 4))
    nll = rd.gaussian(0.2).nll(jnp.asarray(y, dtype), jnp.asarray(y_hat, dtype))
    np.testing.assert_allclose(nll, np.sum(np.abs(y - y_hat) ** 2) / (2 * 0.2**2), rtol=1e-5)  # float32 sum of 20


def test_gradient_of_nll_in_the_measurement_is_the_scaled_residual(rng):
    y, y_hat = jnp.asarray(rng.normal(size=(2, 5, 4)), jnp.float32).at[:, 0].set(1.0)
    gradient = jax.grad(rd.gaussian(0.2).nll, argnums=1)(y, y_hat)
    np.testing.assert_allclose(gradient, (y_hat - y) / 0.2**2, rtol=1e-5, atol=1e-6)  # float32


def test_nll_of_an_exact_fit_without_noise_is_zero():
    assert rd.gaussian(0.0).nll(jnp.ones(3), jnp.ones(3)) == 0


def test_nll_of_a_misfit_without_noise_is_infinite():
    assert rd.gaussian(0.0).nll(jnp.ones(3), jnp.zeros(3)) == jnp.inf


@pytest.mark.parametrize("sigma_y", [-0.1, float("nan"), float("inf")])
def test_a_deviation_that_is_none_is_an_error(sigma_y):
    with pytest.raises(ValueError, match=r"sigma_y is .* but must be finite and not negative"):
        rd.gaussian(sigma_y)


def test_each_image_of_a_batch_has_its_own_deviation():
    noises = jax.vmap(rd.gaussian)(jnp.asarray([0.0, 0.5]))
    keys = jax.random.split(jax.random.key(0), 2)
    noisy = jax.vmap(lambda key, noise: noise.sample(key, jnp.zeros((2, 2, 1))))(keys, noises)
    assert np.array_equal(noisy[0], np.zeros((2, 2, 1)))
    assert np.array_equal(noisy[1], rd.gaussian(0.5).sample(keys[1], jnp.zeros((2, 2, 1))))
