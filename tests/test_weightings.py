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


def test_an_unknown_name_is_an_error():
    with pytest.raises(ValueError, match="unknown weighting 'lienar'; choose one of linear, sqrt"):
        weightings.by_name("lienar")
