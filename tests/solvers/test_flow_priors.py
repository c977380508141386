"""Velocity fields as priors: a flow's line is a diffusion's path, scaled, and every solver has the same posterior."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import SOLVERS

import reddiff_jax as rd

SHAPE = (8, 8, 1)
FLOW = rd.schedules.rectified_flow()
MEANS = 0.6 * np.random.default_rng(0).normal(size=(2, *SHAPE))
VARIANCE = 0.2
# The timestep grids of these take few steps' time.
QUICK = {"ddim", "red"}
# Steps along the gradient in x_t, whose length is the schedule's: the same only on one schedule.
SCALED = {"dps", "mcg"}


def _preserving() -> rd.Schedule:
    """The same noise levels with alpha^2 + sigma^2 = 1."""
    norm = jnp.sqrt(FLOW.alphas**2 + FLOW.sigmas**2)
    return rd.Schedule(FLOW.alphas / norm, FLOW.sigmas / norm)


def _velocity(means, x, s, cond):
    """eps - x_0 of a mixture of Gaussians of one variance, each the expectation at x = (1 - s) x_0 + s eps."""
    alpha, total = 1 - s, (1 - s) ** 2 * VARIANCE + s**2
    deviations = (x[None] - alpha * means) / total  # (K, H, W, C)
    shares = jax.nn.softmax(-0.5 * total * jnp.sum(deviations**2, axis=(1, 2, 3)))[:, None, None, None]
    return jnp.sum(shares * (s * deviations - means - alpha * VARIANCE * deviations), axis=0)


def _velocity_to_data(means, x, tau, cond):
    return -_velocity(means, x, 1 - tau, cond)


def _exact(count: int, schedule: rd.Schedule) -> rd.Prior:
    if count == 1:
        return rd.gaussian_prior(jnp.asarray(MEANS[0]), VARIANCE, schedule)
    return rd.mixture_prior(jnp.ones(count), jnp.asarray(MEANS), VARIANCE, schedule)


FIELDS = {
    "to_noise": lambda means: rd.flow_prior(_velocity, params=means),
    "to_data": lambda means: rd.flow_prior(_velocity_to_data, params=means, to_data=True),
    # The other sign alone, and a network that takes the timestep itself.
    "to_noise_negative": lambda means: rd.flow_prior(lambda *args: -_minus(*args), params=means),
    "index": lambda means: rd.prior(_at_index, FLOW, params=means, to_eps=rd.from_velocity),
}


def _minus(means, x, s, cond):
    return -_velocity(means, x, s, cond)


def _at_index(means, x_t, t, cond):
    return _velocity(means, x_t, FLOW(t)[1], cond)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2], ids=["gaussian", "mixture"])
@pytest.mark.parametrize("make", FIELDS.values(), ids=FIELDS)
def test_every_direction_and_sign_of_a_velocity_is_the_same_prior(make, count):
    with jax.enable_x64(True):
        prior, exact = make(jnp.asarray(MEANS[:count])), _exact(count, FLOW)
        x_t = jnp.asarray(np.random.default_rng(1).normal(size=SHAPE))
        for t in (0, 1, 500, 998, 999):
            # The table is float32, in which s = 0.999 leaves 1 - s four digits.
            np.testing.assert_allclose(prior.eps(x_t, t), exact.eps(x_t, t), atol=1e-6)


def test_a_velocity_serves_schedules_of_other_scales():
    with jax.enable_x64(True):
        x_t = jnp.asarray(np.random.default_rng(1).normal(size=SHAPE))
        for schedule in (rd.schedules.linear(), rd.schedules.edm()):
            prior = rd.flow_prior(_velocity, schedule, params=jnp.asarray(MEANS))
            for t in (0, 300, 999):
                np.testing.assert_allclose(prior.eps(x_t, t), _exact(2, schedule).eps(x_t, t), atol=1e-6)


def test_a_network_of_velocities_is_a_prior_through_from_velocity_on_any_schedule():
    x_0, eps = np.random.default_rng(2).normal(size=(2, 5))
    for schedule in (FLOW, rd.schedules.linear(), rd.schedules.ve()):
        alpha_t, sigma_t = map(float, schedule(700))
        found = rd.from_velocity(eps - x_0, alpha_t * x_0 + sigma_t * eps, alpha_t, sigma_t)
        np.testing.assert_allclose(found, eps, rtol=1e-12)


def _cases():
    for case in SOLVERS:
        for count, name in ((1, "gaussian"), (2, "mixture")):
            quick = case.name in QUICK and count == 2
            yield pytest.param(case, count, id=f"{case.name}-{name}", marks=[] if quick else [pytest.mark.slow])


@pytest.mark.slow
@pytest.mark.parametrize(("case", "count"), list(_cases()))
def test_every_solver_has_the_same_posterior_by_a_velocity_field_and_by_the_noise(case, count):
    with jax.enable_x64(True):
        rng = np.random.default_rng(3)
        mask, x = rng.random(SHAPE[:2]) > 0.3, jnp.asarray(MEANS[0] + 0.3 * rng.normal(size=SHAPE))
        alone = case.needs is rd.operators.Denoising
        operator = rd.denoising(SHAPE) if alone else rd.inpainting(mask, channels=1)
        problem = rd.measure(jax.random.key(0), operator, rd.gaussian(0.05), x)
        flow = rd.flow_prior(_velocity, params=jnp.asarray(MEANS[:count]))
        noise = _exact(count, FLOW if case.name in SCALED else _preserving())
        ours, theirs = (rd.run(jax.random.key(3), case.make(prior), problem).x for prior in (flow, noise))
        # The tables are float32, each rounded by itself, and x_0 at the first level is a difference over 0.001.
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
