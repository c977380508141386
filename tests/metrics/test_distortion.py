import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from reddiff_jax.metrics import psnr, ssim

METRICS = [psnr, ssim]
jitted_ssim = jax.jit(ssim)
# (H, W, C), data_range: grey and colour, square and not, the smallest image, and the usual ranges.
CASES = [((32, 32, 3), 2.0), ((24, 31, 3), 1.0), ((31, 20, 1), 255.0), ((11, 11, 1), 2.0), ((16, 12, 4), 2.0)]


def noisy_pair(rng, shape, data_range=2.0, noise=0.1):
    """An image with structure, uniform in half of the range, and itself with noise."""
    reference = data_range * (rng.uniform(-0.25, 0.25, shape) + 0.25 * np.linspace(-1, 1, shape[1])[None, :, None])
    x = reference + noise * data_range * rng.standard_normal(shape)
    return x.astype(np.float32), reference.astype(np.float32)


def skimage_ssim(x, reference, data_range):
    return structural_similarity(
        x.astype(np.float64),
        reference.astype(np.float64),
        data_range=data_range,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        channel_axis=-1,
    )


@pytest.mark.parametrize(("shape", "data_range"), CASES)
def test_psnr_equals_scikit_image(rng, shape, data_range):
    x, reference = noisy_pair(rng, shape, data_range)
    expected = peak_signal_noise_ratio(reference.astype(float), x.astype(float), data_range=data_range)
    # Two logarithms of order 50 in float32.
    np.testing.assert_allclose(psnr(x, reference, data_range=data_range), expected, atol=2e-5)


@pytest.mark.parametrize("noise", [0.01, 0.1, 1.0])
@pytest.mark.parametrize(("shape", "data_range"), CASES)
def test_ssim_equals_scikit_image_in_float64(rng, shape, data_range, noise):
    x, reference = noisy_pair(rng, shape, data_range, noise)
    expected = skimage_ssim(x, reference, data_range)
    # Order 1, float32 moments.
    np.testing.assert_allclose(jitted_ssim(x, reference, data_range=data_range), expected, atol=2e-6)


def test_ssim_keeps_its_digits_for_images_far_from_zero(rng):
    x, reference = (image + np.float32(500) for image in noisy_pair(rng, (32, 32, 3)))
    # E[x^2] - E[x]^2 in float32 would be off by about 0.01 here, as large as C2.
    np.testing.assert_allclose(ssim(x, reference), skimage_ssim(x, reference, 2.0), atol=2e-6)


def test_ssim_of_opposite_textures_is_negative():
    texture = 0.4 * (-1.0) ** np.add.outer(np.arange(16), np.arange(16))[:, :, None]
    # Equal means, covariance = -variance: close to -1, less C2 / variance, which is 0.02.
    assert ssim(np.float32(0.5 - texture), np.float32(0.5 + texture)) < -0.95


def test_psnr_of_a_known_error_is_exact():
    reference = jnp.zeros((8, 8, 3))
    # mse 0.04, range 2: 10 log10(100). float32 logarithms.
    np.testing.assert_allclose(psnr(reference + 0.2, reference), 20.0, atol=1e-5)


def test_psnr_of_identical_images_is_infinite(rng):
    x, _ = noisy_pair(rng, (16, 16, 3))
    assert psnr(x, x) == jnp.inf


def test_ssim_of_identical_images_is_exactly_one(rng):
    x, _ = noisy_pair(rng, (16, 16, 3))
    assert jitted_ssim(x, x) == ssim(x, x) == 1.0


@pytest.mark.parametrize("metric", METRICS)
def test_metric_is_symmetric(rng, metric):
    x, reference = noisy_pair(rng, (16, 16, 3))
    # The same sums in another order of signs.
    np.testing.assert_allclose(metric(x, reference), metric(reference, x), rtol=1e-6)


def test_psnr_does_not_depend_on_where_the_range_starts(rng):
    x, reference = noisy_pair(rng, (16, 16, 3))
    in_unit_range = psnr((x + 1) / 2, (reference + 1) / 2, data_range=1.0)
    # Order 20, float32, after rounding the images again.
    np.testing.assert_allclose(in_unit_range, psnr(x, reference), rtol=3e-6)


def test_ssim_does_not_depend_on_the_unit_but_on_where_the_range_starts(rng):
    x, reference = noisy_pair(rng, (16, 16, 3))
    # Order 1, float32.
    np.testing.assert_allclose(ssim(x * 127.5, reference * 127.5, data_range=255.0), ssim(x, reference), rtol=3e-6)
    assert ssim((x + 1) / 2, (reference + 1) / 2, data_range=1.0) > ssim(x, reference) + 0.1


@pytest.mark.parametrize("metric", METRICS)
def test_metric_under_vmap_is_the_loop(rng, metric):
    xs, references = (
        np.stack(images) for images in zip(*(noisy_pair(rng, (16, 13, 3)) for _ in range(4)), strict=True)
    )
    loop = [metric(x, reference) for x, reference in zip(xs, references, strict=True)]
    # The order of float32 sums may differ.
    np.testing.assert_allclose(jax.jit(jax.vmap(metric))(xs, references), loop, rtol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_metric_under_jit_with_a_traced_range_is_eager(rng, metric):
    x, reference = noisy_pair(rng, (16, 16, 3), 1.0)
    jitted = jax.jit(lambda x, y, data_range: metric(x, y, data_range=data_range))(x, reference, 1.0)
    # Fusion changes float32 rounding.
    np.testing.assert_allclose(jitted, metric(x, reference, data_range=1.0), rtol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_metric_has_finite_gradients(rng, metric):
    x, reference = noisy_pair(rng, (12, 12, 1))
    assert jnp.isfinite(jax.jit(jax.grad(metric))(x, reference)).all()


@pytest.mark.parametrize("metric", METRICS)
def test_half_precision_images_are_judged_in_float32(rng, metric):
    x, reference = (jnp.asarray(image, jnp.bfloat16) for image in noisy_pair(rng, (16, 16, 3)))
    assert metric(x, reference) == metric(x.astype(jnp.float32), reference.astype(jnp.float32))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("x", "reference", "message"),
    [
        (np.zeros((2, 16, 16, 3)), np.zeros((2, 16, 16, 3)), r"x is \(2, 16, 16, 3\) but one image .* jax.vmap"),
        (np.zeros((16, 16, 3)), np.zeros((16, 16)), r"reference is \(16, 16\) but one image"),
        (np.zeros((16, 16, 3)), np.zeros((16, 16, 1)), r"x is \(16, 16, 3\) but reference is \(16, 16, 1\).* Resize"),
        (np.zeros((16, 16, 3), np.uint8), np.zeros((16, 16, 3)), r"x has dtype uint8 .* x / 127.5 - 1"),
    ],
)
def test_unfit_images_are_refused(metric, x, reference, message):
    with pytest.raises(ValueError, match=message):
        metric(x.astype(np.float32) if x.dtype == float else x, reference.astype(np.float32))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("data_range", [0.0, -1.0, np.nan, np.inf])
def test_unfit_ranges_are_refused(metric, data_range):
    image = np.zeros((16, 16, 3), np.float32)
    with pytest.raises(ValueError, match=r"data_range is .* must be finite and above 0"):
        metric(image, image, data_range=data_range)


def test_images_smaller_than_the_window_are_refused_by_ssim():
    image = np.zeros((10, 32, 3), np.float32)
    with pytest.raises(ValueError, match=r"x has shape \(10, 32, .\) but ssim needs at least 11 pixels"):
        ssim(image, image)
