import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax.operators as ops

SHAPE = (4, 6, 3)


def test_start_explains_the_measurement_exactly(rng):
    operator = ops.hdr(SHAPE)
    y = operator(jnp.asarray(rng.uniform(-1, 1, SHAPE), jnp.float32))
    np.testing.assert_array_equal(operator(operator.pinv(y)), y)


def test_saturated_pixels_have_no_derivative(rng):
    operator = ops.hdr(SHAPE)
    x = jnp.asarray(rng.uniform(-1, 1, SHAPE), jnp.float32)
    slope = jax.grad(lambda x: operator(x).sum())(x)
    np.testing.assert_array_equal(slope, np.where(np.abs(x) < 0.5, 2.0, 0.0))


@pytest.mark.parametrize("factor", [0.5, -2.0, float("nan"), float("inf")])
def test_gain_that_does_not_saturate_is_refused(factor):
    with pytest.raises(ValueError, match=r"factor is .* at least 1"):
        ops.hdr(SHAPE, factor)
