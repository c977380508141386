"""Checks of the two images of a metric."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from reddiff_jax._checks import check_array, check_image_shape


def as_pair(x: ArrayLike, reference: ArrayLike, min_size: int, metric: str) -> tuple[jax.Array, jax.Array]:
    """Returns two images of one shape in float32 or wider, or raises ValueError."""
    images = []
    for name, image in (("x", x), ("reference", reference)):
        check_array(f"{metric}: {name}", image, "an image (H, W, C)")
    for name, image in (("x", jnp.asarray(x)), ("reference", jnp.asarray(reference))):
        height, width, _ = check_image_shape(name, image.shape)
        if not jnp.issubdtype(image.dtype, jnp.floating):
            raise ValueError(
                f"{name} has dtype {image.dtype} but {metric} takes floating-point images, in [-1, 1] by default. "
                "8-bit images become such by x / 127.5 - 1."
            )
        if min(height, width) < min_size:
            raise ValueError(
                f"{name} has shape {image.shape} but {metric} needs at least {min_size} pixels on each side. "
                "Upsample both images or use psnr."
            )
        images.append(image.astype(jnp.promote_types(image.dtype, jnp.float32)))
    first, second = images
    if first.shape != second.shape:
        raise ValueError(
            f"x is {first.shape} but reference is {second.shape}; {metric} compares images of one shape. "
            "Resize or crop one of them first."
        )
    return first, second
