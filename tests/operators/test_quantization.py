import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reddiff_jax.operators as ops

SHAPE = (4, 6, 3)


@pytest.fixture
def x(rng):
    return jnp.asarray(rng.uniform(-1.5, 1.5, SHAPE), jnp.float32)


@pytest.mark.parametrize("bits", [1, 2, 8])
def test_values_are_the_nearest_of_the_levels(bits, x):
    levels = np.linspace(-1, 1, 2**bits)
    nearest = levels[np.abs(np.asarray(x)[..., None] - levels).argmin(-1)]
    # float32 in [-1, 1].
    np.testing.assert_allclose(ops.quantization(SHAPE, bits)(x), nearest, atol=2e-7)


@pytest.mark.parametrize("bits", [1, 3, 16])
def test_quantisation_is_idempotent(bits, x):
    operator = ops.quantization(SHAPE, bits)
    np.testing.assert_array_equal(operator(operator(x)), operator(x))


@pytest.mark.parametrize(("straight_through", "slope"), [(True, 1.0), (False, 0.0)])
def test_derivative_is_one_straight_through_and_else_zero(straight_through, slope, x):
    operator = ops.quantization(SHAPE, 3, straight_through=straight_through)
    # One scale by the number of levels and back, in float32.
    np.testing.assert_allclose(jax.grad(lambda x: operator(x).sum())(x), slope, atol=1e-6)


def test_both_derivatives_belong_to_the_same_measurement(x):
    soft, hard = (ops.quantization(SHAPE, 4, straight_through=each)(x) for each in (True, False))
    np.testing.assert_array_equal(soft, hard)


@pytest.mark.parametrize("bits", [0, 17, 2.5])
def test_impossible_depths_are_refused(bits):
    with pytest.raises(ValueError, match=r"bits is .* whole number from 1 to 16"):
        ops.quantization(SHAPE, bits)
