import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

import reddiff_jax.operators as ops

SHAPE = (8, 10, 3)
KERNEL = np.random.default_rng(1).random((3, 5))


@jax.jit
def _measure(operator, x):
    return operator(x)


@jax.jit
def _slope(operator, x):
    return jax.grad(lambda x: operator(x).sum())(x)


@pytest.fixture
def x(rng):
    return jnp.asarray(rng.uniform(-1, 1, SHAPE), jnp.float32)


def test_measurement_is_the_formula(x):
    light = ((np.asarray(x, np.float64) + 1) / 2) ** 2.2
    weights = (KERNEL / KERNEL.sum())[:, :, None]
    blurred = ndimage.convolve(light, weights, mode="mirror")
    y = 2 * np.clip(1.7 * blurred, 0, 1) ** (1 / 2.2) - 1
    # float32, through two powers; every blurred value here is far above the straight line at the origin.
    np.testing.assert_allclose(_measure(ops.saturated_blur(KERNEL, SHAPE, normalize=True, gain=1.7), x), y, atol=1e-5)


def test_without_gamma_and_gain_it_is_the_blur(x):
    y = _measure(ops.saturated_blur(KERNEL, SHAPE, normalize=True, gamma=1.0, gain=1.0), x)
    np.testing.assert_allclose(
        y, ops.blur(KERNEL, SHAPE, normalize=True)(x), atol=2e-6
    )  # float32, in and out of [0, 1]


@pytest.mark.parametrize("value", [-1.0, 1.0])
def test_black_stays_black_and_white_white_with_finite_derivatives(value):
    operator, x = ops.saturated_blur(KERNEL, SHAPE, normalize=True), jnp.full(SHAPE, value)
    np.testing.assert_allclose(
        _measure(operator, x), x, atol=1e-5
    )  # float32 FFT of the light, times the slope at black
    assert jnp.isfinite(_slope(operator, x)).all()


def test_start_is_exact_where_nothing_is_lost(rng):
    with jax.enable_x64(True):
        x = jnp.asarray(rng.uniform(-1, 1, SHAPE))
        operator = ops.saturated_blur(np.ones((1, 1)), SHAPE, gain=1.0, boundary=ops.Boundary.CIRCULAR)
        # float64, times the slope at black, about 1000.
        np.testing.assert_allclose(jax.jit(lambda x: operator.pinv(operator(x)))(x), x, atol=1e-10)


def test_saturated_pixels_have_no_derivative():
    operator = ops.saturated_blur(KERNEL, SHAPE, normalize=True, gain=2.0)
    bright = jnp.full(SHAPE, 0.9)
    assert not _slope(operator, bright).any()


@pytest.mark.parametrize(
    ("kernel", "options", "message"),
    [
        (-KERNEL, {}, r"an entry of kernel is -0.* must be not negative. A camera only adds light"),
        (KERNEL, {"gamma": 0.0}, r"gamma is 0\.0 .* above 0"),
        (KERNEL, {"gain": -1.0}, r"gain is -1\.0"),
        (np.ones((2, 2, 2)), {}, "one kernel is"),
    ],
)
def test_impossible_cameras_are_refused(kernel, options, message):
    with pytest.raises(ValueError, match=message):
        ops.saturated_blur(kernel, SHAPE, **options)
