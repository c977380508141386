"""Distortion of MRI as fastMRI defines it: of the magnitudes of a whole volume, whose largest value is the range."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from reddiff_jax._checks import describe

_SIDE = 7  # of the window, whose weights are equal
_K1, _K2 = 0.01, 0.03


def nmse(x: Float[Array, "S H W"], reference: Float[Array, "S H W"]) -> Float[Array, ""]:
    """Normalised mean squared error ``|x - reference|^2 / |reference|^2``, sums over the volume; lower is nearer.

    Raises:
        ValueError: If these are not two volumes of one shape.
    """
    _check("nmse", x, reference)
    return jnp.sum((x - reference) ** 2) / jnp.sum(reference**2)


def volume_psnr(x: Float[Array, "S H W"], reference: Float[Array, "S H W"]) -> Float[Array, ""]:
    """Peak signal-to-noise ratio in dB of a volume, the peak being the reference's largest value.

    Raises:
        ValueError: If these are not two volumes of one shape.
    """
    _check("volume_psnr", x, reference)
    return 20 * jnp.log10(jnp.max(reference)) - 10 * jnp.log10(jnp.mean((x - reference) ** 2))


def volume_ssim(x: Float[Array, "S H W"], reference: Float[Array, "S H W"]) -> Float[Array, ""]:
    """Structural similarity, the mean over slices, with the range 0 to the reference's largest value.

    Windows are squares of 7 x 7 equal weights, variances those of samples (with n - 1), as scikit-image's
    ``structural_similarity`` has them by default. ``rd.metrics.ssim`` has Gaussian windows.

    Raises:
        ValueError: If these are not two volumes of one shape, or a side is below 7.

    Source:
        Zbontar et al. 2018, fastMRI (arXiv 1811.08839), section 5.
    """
    _check("volume_ssim", x, reference)
    if min(x.shape[1:]) < _SIDE:
        raise ValueError(f"volume_ssim: slices are {x.shape[1:]} but need sides of at least {_SIDE}.")
    top = jnp.max(reference)
    c1, c2 = (_K1 * top) ** 2, (_K2 * top) ** 2
    # About the mean of each volume: squares of numbers far from 0 cancel in float32.
    offset_x, offset_y = x.mean(), reference.mean()
    x, y = x - offset_x, reference - offset_y
    mean_x, mean_y = _windowed(x), _windowed(y)
    unbiased = _SIDE**2 / (_SIDE**2 - 1)
    var_x, var_y = (unbiased * (_windowed(each**2) - mean**2) for each, mean in ((x, mean_x), (y, mean_y)))
    covariance = unbiased * (_windowed(x * y) - mean_x * mean_y)
    level_x, level_y = mean_x + offset_x, mean_y + offset_y
    luminance = (2 * level_x * level_y + c1) / (level_x**2 + level_y**2 + c1)
    return (luminance * (2 * covariance + c2) / (var_x + var_y + c2)).mean()


def _windowed(x: Float[Array, "S H W"]) -> Float[Array, "S H-6 W-6"]:
    """Means of windows that lie wholly inside."""
    sums = jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, _SIDE, _SIDE), (1, 1, 1), "VALID")
    return sums / _SIDE**2


def _check(name: str, x: Array, reference: Array) -> None:
    if jnp.shape(x) != jnp.shape(reference) or jnp.ndim(x) != 3:
        raise ValueError(
            f"{name}: x is {describe(x)} and reference {describe(reference)}, but both must be magnitudes (slices, H, "
            "W) of one shape. One slice: x[None]."
        )
    if jnp.iscomplexobj(x) or jnp.iscomplexobj(reference):
        raise ValueError(f"{name}: complex numbers came; take jnp.abs of both.")
