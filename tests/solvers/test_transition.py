"""The transition between noise levels, against the conditional law of a Gaussian chain."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd
from reddiff_jax.solvers._transition import ddim_scales, ddim_transition

SCHEDULES = {"preserving": rd.schedules.linear, "exploding": rd.schedules.ve}


@pytest.mark.parametrize("make", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize(("t", "s"), [(999, 998), (500, 200), (1, 0)])
@pytest.mark.usefixtures("x64")
def test_with_eta_one_the_transition_is_the_posterior_of_the_forward_chain(make, t, s):
    # x_s = a_s x_0 + s_s n and x_t = (a_t / a_s) x_s + m with var m = s_t^2 - (a_t s_s / a_s)^2: condition on x_t.
    (a_t, s_t), (a_s, s_s) = (map(float, make()(level)) for level in (t, s))
    x_0, x_t, z = 0.7, -0.4, 1.3
    ratio = a_t / a_s
    gain = ratio * s_s**2 / s_t**2
    mean = a_s * x_0 + gain * (x_t - a_t * x_0)
    variance = s_s**2 * (1 - gain * ratio)
    x_s = ddim_transition(jnp.asarray(z), jnp.asarray(x_0), (x_t - a_t * x_0) / s_t, (a_t, a_s), (s_t, s_s), 1.0)
    # float64; tables of neighbouring levels agree in up to 4 digits.
    np.testing.assert_allclose(x_s, mean + np.sqrt(variance) * z, rtol=1e-10)


@pytest.mark.parametrize("make", SCHEDULES.values(), ids=SCHEDULES)
def test_fresh_and_kept_noise_add_up_to_the_level(make):
    schedule = make()
    (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(jnp.arange(1, 1000)), schedule(jnp.arange(999))
    c1, c2 = ddim_scales((alpha_t, alpha_s), (sigma_t, sigma_s), 0.6)
    np.testing.assert_allclose(jnp.hypot(c1, c2), sigma_s, rtol=1e-6)  # float32


def test_in_float32_the_fresh_noise_has_the_precision_of_the_tables():
    with jax.enable_x64(True):
        exact, ts = rd.schedules.linear(), np.arange(1, 1000)
        expected, _ = ddim_scales(*zip(exact(ts), exact(ts - 1), strict=True), 1.0)
    single = rd.schedules.linear()
    actual, _ = ddim_scales(*zip(single(ts), single(ts - 1), strict=True), 1.0)
    # 1 - ratio^2 is 1e-2 of numbers rounded at 1e-7; with ratio = alpha_t / alpha_s it is 1e-4 near t = 0.
    np.testing.assert_allclose(actual, expected, rtol=5e-5)


def test_the_last_transition_returns_the_estimate():
    x_hat, ones = jnp.full((2, 2, 1), 0.3), jnp.ones((2, 2, 1))
    levels = rd.schedules.linear()(jnp.asarray([3, -1]))
    assert np.array_equal(ddim_transition(ones, x_hat, ones, *map(tuple, levels), 1.0), x_hat)
