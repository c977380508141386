"""Inpainting: some pixels are not seen."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Num

from reddiff_jax._checks import check_array, check_whole, numbers
from reddiff_jax.masks.holes import are_scattered
from reddiff_jax.operators._base import SpectralOperator


@struct.dataclass
class Inpainting(SpectralOperator):
    """The diagonal operator ``y = mask * x``; build it with ``inpainting``."""

    mask: jax.Array  # (H, W, 1) or (H, W, C), 1 = kept

    keeps_range = True

    @property
    def observed(self) -> Float[Array, "H W #C"]:
        """The mask."""
        return self.mask

    @property
    def scattered(self) -> bool:
        """Whether single pixels are missing, not holes: a look at the mask's numbers.

        The next pixel to the right of a missing one, or below it, is missing, too, with a probability that is the
        missing share where pixels are missing by themselves, and near 1 in holes; the middle of the two divides them.
        The masks of a batch under ``vmap`` count together. Where ``jit`` hides the numbers they are taken for holes.
        """
        mask = numbers(self.mask)  # (..., H, W, #C)
        if mask is None:
            return False
        return are_scattered(mask == 0)

    @property
    def singulars(self) -> Float[Array, "H W #C"]:
        """The mask."""
        return self.mask

    def Vt(self, x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Coefficients are pixels."""
        return x

    def V(self, coefficients: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Pixels are coefficients."""
        return coefficients

    def Ut(self, y: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Coefficients are the kept pixels."""
        return self.mask * y

    def U(self, coefficients: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Kept pixels are coefficients."""
        return self.mask * coefficients

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Measures one image."""
        return self.mask * x

    def pinv(self, y: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """The kept pixels, and zero (mid-grey) in the hole."""
        return self.mask * y


def inpainting(mask: Num[Array, "H W *C"] | Bool[Array, "H W *C"] | np.ndarray, *, channels: int = 3) -> Inpainting:
    """Keeps the pixels where ``mask`` is 1: ``y = mask * x``, dense, so missing pixels stay in ``y`` as zeros.

    Args:
        mask: ``(H, W)`` or ``(H, W, 1)``, shared by the channels, or ``(H, W, C)``; 1 or True = kept, 0 = missing.
            A mask for each image of a batch: ``jax.vmap(rd.inpainting)(masks)``.
        channels: C of the images.

    Raises:
        ValueError: If the mask has another shape, or values other than 0 and 1.

    Source:
        The free-form inpainting, in dense form, of Mardani et al. 2023 (arXiv 2305.04391).
    """
    check_array("inpainting: mask", mask, "an array (H, W) of 0 (missing) and 1 (kept), not a shape or a file's name")
    channels = check_whole("inpainting: channels", channels)
    shape = np.shape(mask)
    if len(shape) == 2:
        shape = (*shape, 1)
    if len(shape) != 3 or shape[2] not in (1, channels):
        raise ValueError(
            f"inpainting: mask has shape {np.shape(mask)} but one mask is (H, W), (H, W, 1) or (H, W, {channels}) for "
            f"channels={channels}. Say channels=... for other images; for a batch use jax.vmap(rd.inpainting)(masks)."
        )
    values = numbers(mask)
    if values is not None and not np.isin(values, (0, 1)).all():
        raise ValueError(
            f"inpainting: mask has values from {values.min()} to {values.max()} but must be 0 (missing) or 1 (kept). "
            "Threshold it first, for example mask > 0.5."
        )
    # dtype=float is JAX's default float, so that masks follow jax_enable_x64.
    return Inpainting(in_shape=(*shape[:2], channels), mask=jnp.asarray(mask, dtype=float).reshape(shape))
