import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import reddiff_jax.operators as ops


def test_pinv_of_average_pooling_is_exactly_nearest_upsampling(rng):
    y = rng.random((3, 4, 3)).astype(np.float32)
    upsampled = ops.super_resolution((12, 16, 3), 4).pinv(jnp.asarray(y))
    np.testing.assert_array_equal(upsampled, y.repeat(4, axis=0).repeat(4, axis=1))


def test_average_pooling_has_singular_values_one_over_factor():
    s = np.asarray(ops.super_resolution((12, 16, 3), 4).singulars)
    np.testing.assert_allclose(s[s > 0], 1 / 4, rtol=1e-6)  # float32
    assert (s > 0).sum() == 3 * 4


def test_average_pooling_by_its_matrices_equals_block_means(rng):
    with jax.enable_x64(True):
        operator = ops.super_resolution((12, 16, 3), 4)
        x = jnp.asarray(rng.random((12, 16, 3)))
        # float64: sums of 16 pixels.
        np.testing.assert_allclose(operator(x), operator.U(operator.singulars * operator.Vt(x)), atol=1e-13)


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_bicubic_keeps_constant_pictures(factor):
    rows = np.asarray(ops.bicubic((24, 24, 1), factor).height.matrix).sum(axis=1)
    np.testing.assert_allclose(rows, 1.0, atol=1e-6)  # float32 sums of up to 24 entries


@pytest.mark.parametrize(("factor", "least", "most"), [(2, 0.49, 0.71), (4, 0.36, 0.50), (8, 0.28, 0.35)])
def test_bicubic_has_the_singular_values_of_the_published_one(factor, least, most):
    s = np.asarray(ops.bicubic((32, 32, 1), factor).height.s)
    # The published ranges are rounded to two digits.
    assert (s[s > 0].min(), s[s > 0].max()) == (pytest.approx(least, abs=0.005), pytest.approx(most, abs=0.005))


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_bicubic_equals_pillow_away_from_the_border(factor, rng):
    x = rng.random((48, 36)).astype(np.float32)
    small = np.asarray(Image.fromarray(x).resize((36 // factor, 48 // factor), Image.Resampling.BICUBIC))
    y = np.asarray(ops.bicubic((48, 36, 1), factor)(jnp.asarray(x)[:, :, None]))[:, :, 0]
    # Pillow cuts the kernel at the border instead of mirroring; inside both are float32.
    np.testing.assert_allclose(y[2:-2, 2:-2], small[2:-2, 2:-2], atol=2e-6)


@pytest.mark.parametrize("factory", [ops.super_resolution, ops.bicubic])
@pytest.mark.parametrize(
    ("factor", "error", "words"),
    [
        (0, ValueError, "must be at least 1"),
        (5, ValueError, r"divides the height and width of \(12, 16, 3\)"),
        (1.5, TypeError, "must be a whole number from 1"),
    ],
)
def test_factor_that_does_not_divide_the_picture_is_refused(factory, factor, error, words):
    with pytest.raises(error, match=f"factor is .* {words}"):
        factory((12, 16, 3), factor)


def test_shape_of_a_batch_is_refused():
    with pytest.raises(ValueError, match=r"\(H, W, C\); batches go through jax\.vmap"):
        ops.super_resolution((8, 12, 16, 3), 4)
