"""The seven weightings of the prior term."""

import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax as rd
from reddiff_jax import weightings
from reddiff_jax.solvers import NoiseAwareWeight
from reddiff_jax.solvers._levels import Scene

EXPECTED = {
    "linear": lambda r: r,
    "sqrt": lambda r: r**0.5,
    "square": lambda r: r * r,
    "log": lambda r: np.log(1 + r),
    "trunc_linear": lambda r: min(r, 1.0),
    "power2over3": lambda r: np.cbrt(r) ** 2,
    "const": lambda r: 1.0,
}


def test_there_are_the_seven_published_weightings():
    assert set(weightings.WEIGHTINGS) == set(EXPECTED)


@pytest.mark.parametrize("r", [0.01, 1.0, 157.4])
@pytest.mark.parametrize("name", EXPECTED)
def test_weighting_of_the_ratio(name, r):
    alpha_t = 1 / np.sqrt(1 + r**2)
    weight = weightings.WEIGHTINGS[name](jnp.float32(alpha_t), jnp.float32(r * alpha_t))
    np.testing.assert_allclose(weight, EXPECTED[name](r), rtol=1e-6)  # a few float32 operations


def test_the_noise_aware_weighting_is_the_posteriors_at_low_levels_and_linear_without_noise():
    a, s, shape = jnp.float32(0.8), jnp.float32(0.2), (2, 2, 1)
    for sigma_y, gamma, expected in [(0.1, 0.0, 0.01 / 0.25), (0.0, 0.5, 0.25)]:
        problem = rd.problem(jnp.zeros(shape), rd.denoising(shape), rd.gaussian(sigma_y))
        w, _ = NoiseAwareWeight().of(Scene(problem, rd.schedules.linear(), 2.0), 1.0, gamma, 1.0)(a, s)
        assert float(w) == pytest.approx(expected, rel=1e-6)
