"""The seven weightings of the prior term."""

import jax.numpy as jnp
import numpy as np
import pytest

from reddiff_jax import weightings

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
    weight = weightings.by_name(name)(jnp.float32(alpha_t), jnp.float32(r * alpha_t))
    np.testing.assert_allclose(weight, EXPECTED[name](r), rtol=1e-6)  # a few float32 operations


def test_the_noise_aware_weighting_is_the_posteriors_at_low_levels_and_linear_without_noise():
    a, s = jnp.float32(0.8), jnp.float32(0.2)
    assert float(weightings.noise_aware(0.1, 2.0, gamma=0.0)(a, s)) == pytest.approx(0.01 / 0.25, rel=1e-6)
    assert float(weightings.noise_aware(0.0, 2.0, gamma=0.5)(a, s)) == pytest.approx(0.25, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lienar", "unknown weighting 'lienar'; choose one of linear, sqrt"),
        ("noise_aware", "needs a measurement and its sigma_y; only rd.reddiff"),
    ],
)
def test_a_name_that_is_none_of_the_papers_is_an_error(name, message):
    with pytest.raises(ValueError, match=message):
        weightings.by_name(name)
