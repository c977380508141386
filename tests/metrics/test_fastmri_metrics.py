"""fastMRI's metrics equal scikit-image's functions, which define them."""

import numpy as np
import pytest
from skimage.metrics import normalized_root_mse, peak_signal_noise_ratio, structural_similarity

from reddiff_jax import metrics


@pytest.fixture
def pair(rng):
    reference = rng.gamma(2.0, 40.0, (3, 20, 18)).astype(np.float32)
    return (reference + rng.normal(0, 20, reference.shape)).astype(np.float32), reference


def test_nmse_is_the_squared_error_over_the_squares(pair):
    x, reference = pair
    assert float(metrics.nmse(x, reference)) == pytest.approx(normalized_root_mse(reference, x) ** 2, rel=1e-5)


def test_psnr_has_the_largest_value_for_its_range(pair):
    x, reference = pair
    expected = peak_signal_noise_ratio(reference, x, data_range=reference.max())
    assert float(metrics.volume_psnr(x, reference)) == pytest.approx(expected, rel=1e-5)


def test_ssim_is_scikit_images_mean_over_slices(pair):
    x, reference = pair
    top = reference.max()
    each = [structural_similarity(b, a, data_range=top) for a, b in zip(x, reference, strict=True)]
    # scikit-image crops 3 pixels, as windows that lie inside do.
    assert float(metrics.volume_ssim(x, reference)) == pytest.approx(np.mean(each), abs=1e-4)


def test_metrics_of_complex_numbers_or_of_one_slice_are_refused(pair):
    x, reference = pair
    with pytest.raises(ValueError, match="x\\[None\\]"):
        metrics.nmse(x[0], reference[0])
    with pytest.raises(ValueError, match=r"take jnp\.abs"):
        metrics.volume_psnr(1j * x, reference)
    with pytest.raises(ValueError, match="sides of at least 7"):
        metrics.volume_ssim(x[:, :5], reference[:, :5])
