"""Distortion: PSNR and SSIM of one image against its reference."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from reddiff_jax._checks import check_positive
from reddiff_jax.metrics._pair import as_pair

_RADIUS, _SIGMA = 5, 1.5  # of the window, in pixels
_K1, _K2 = 0.01, 0.03


def psnr(
    x: Float[Array, "H W C"], reference: Float[Array, "H W C"], *, data_range: float | Float[Array, ""] = 2.0
) -> Float[Array, ""]:
    """Peak signal-to-noise ratio, in dB; higher is nearer.

    ``10 log10(data_range^2 / mse)``, with mse the mean of ``(x - reference)^2`` over all pixels and channels. Identical
    images have ``inf``: no constant is added to the mse, and nothing is clipped or rounded to 8 bits.

    Args:
        x: The image to judge, ``(H, W, C)``.
        reference: The original, of the same shape and range.
        data_range: Largest minus smallest possible value: 2 for images in [-1, 1], 1 for [0, 1].

    Returns:
        A scalar, in dB.

    Raises:
        ValueError: If the shapes differ or are no image's, a dtype is not floating-point, or data_range is not
            positive.
    """
    x, reference = as_pair(x, reference, 1, "psnr")
    _check_data_range(data_range)
    mse = jnp.square(x - reference).mean()
    return 20.0 * jnp.log10(data_range) - 10.0 * jnp.log10(mse)


def ssim(
    x: Float[Array, "H W C"], reference: Float[Array, "H W C"], *, data_range: float | Float[Array, ""] = 2.0
) -> Float[Array, ""]:
    """Structural similarity: 1 for identical images, about 0 for unrelated ones.

    The mean over channels and over the windows that lie wholly inside the image of::

        (2 mu_x mu_y + C1)(2 cov_xy + C2) / ((mu_x^2 + mu_y^2 + C1)(var_x + var_y + C2))

    with C1 = (0.01 data_range)^2, C2 = (0.03 data_range)^2 and moments under an 11 x 11 Gaussian window of standard
    deviation 1.5 pixels (weights sum to 1; population covariance). It is computed in the algebraically equal form
    ``(1 - (mu_x - mu_y)^2 / (mu_x^2 + mu_y^2 + C1)) (1 - var_{x-y} / (var_x + var_y + C2))``.

    The luminance factor compares means with their distance from ZERO, so SSIM changes when both images are shifted:
    values for [-1, 1] and for [0, 1] differ, most where the image is mid-grey. Published tables are of images that
    start at 0; to compare with them, use ``ssim((x + 1) / 2, (reference + 1) / 2, data_range=1.0)``.

    Args:
        x: The image to judge, ``(H, W, C)``, at least 11 x 11 pixels.
        reference: The original, of the same shape and range.
        data_range: Largest minus smallest possible value: 2 for images in [-1, 1], 1 for [0, 1].

    Returns:
        A scalar in [-1, 1].

    Raises:
        ValueError: If the shapes differ, are no image's or have a side under 11 pixels, a dtype is not floating-point,
            or data_range is not positive.

    Source:
        Wang, Bovik, Sheikh & Simoncelli 2004, "Image quality assessment", Eq. 13 and section III-C. There is no
        downsampling before, and colours are averaged, as in scikit-image's ``structural_similarity`` with
        ``gaussian_weights=True, sigma=1.5, use_sample_covariance=False``.
    """
    x, reference = as_pair(x, reference, 2 * _RADIUS + 1, "ssim")
    _check_data_range(data_range)
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2

    # Variances are taken about each image's mean: E[x^2] - E[x]^2 of an image with an offset cancels in float32.
    offset_x, offset_y = x.mean((0, 1), keepdims=True), reference.mean((0, 1), keepdims=True)
    x, y = x - offset_x, reference - offset_y
    moments = jnp.stack([x, y, x * x + y * y, (x - y) ** 2])  # (4, H, W, C)
    mean_x, mean_y, energy, energy_difference = _windowed_mean(moments)  # (H-10, W-10, C) each
    mean_difference = mean_x - mean_y
    variances = energy - mean_x**2 - mean_y**2
    variance_difference = energy_difference - mean_difference**2

    squared_means = (mean_x + offset_x) ** 2 + (mean_y + offset_y) ** 2
    luminance = 1.0 - (mean_difference + (offset_x - offset_y)) ** 2 / (squared_means + c1)
    contrast_structure = 1.0 - variance_difference / (variances + c2)
    return (luminance * contrast_structure).mean()


def _windowed_mean(images: Float[Array, "N H W C"]) -> Float[Array, "N H-10 W-10 C"]:
    """Mean under the Gaussian window, where the window lies wholly inside."""
    rows, columns = (jnp.asarray(_window_matrix(size), images.dtype) for size in images.shape[1:3])
    return jnp.einsum("ih,nhwc,jw->nijc", rows, images, columns, precision="highest")


def _window_matrix(size: int) -> np.ndarray:
    """One axis of the window at each place it fits, (size - 10, size).

    As matrices the separable window is several times faster than as slices or as a convolution on XLA's CPU backend.
    """
    taps = np.exp(-0.5 * (np.arange(-_RADIUS, _RADIUS + 1) / _SIGMA) ** 2)
    matrix = np.zeros((size - 2 * _RADIUS, size))
    for i, row in enumerate(matrix):
        row[i : i + taps.size] = taps / taps.sum()
    return matrix


def _check_data_range(data_range: Any) -> None:
    """Raises ValueError unless a visible ``data_range`` is finite and positive."""
    check_positive("data_range", data_range, "It is 2 for images in [-1, 1], 1 for [0, 1].")
