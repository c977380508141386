"""The published separable blurs as their code computes them, to reproduce published numbers.

They differ from the blurs that they describe (``uniform_blur``, ``gaussian_blur``) in two ways:

- The loop over the taps stops one short of an odd kernel's last one: 8 of 9 and 4 of 5, not normalised anew, so that a
  picture is darkened to 8/9 and 0.800 of its value on each axis, and moved by half a pixel.
- Coefficients are sorted by singular value and laid out pixel by pixel, with the channels of a coefficient next to each
  other. The singular values are laid out channel by channel. So coefficient number p of channel c of C is multiplied by
  the singular value number ``(C p + c) mod H W`` instead of number p: for one channel that is the right one, for three
  it hardly ever is. The result is not a blur.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax._checks import check_image_shape
from reddiff_jax.operators._base import SpectralOperator
from reddiff_jax.operators._separable import MatrixSVD, matrix_svd, two_sided

_LEAST_SINGULAR = 3e-2  # published, for each axis


@struct.dataclass
class LegacyBlur(SpectralOperator):
    """``(U_h x U_w) diag(s) (V_h x V_w)^T`` with misplaced s; build it with ``legacy_uniform_blur``, for example."""

    height: MatrixSVD  # of the blur of columns (H, H)
    width: MatrixSVD  # of the blur of rows (W, W)
    values: jax.Array  # (H, W, C), the singular values where the published code has them
    identity_pinv: bool = struct.field(pytree_node=False)

    @property
    def singulars(self) -> Float[Array, "H W C"]:
        """Singular values where the published code has them."""
        return self.values

    def Vt(self, x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Image to coefficients."""
        return two_sided(self.height.vt, x, self.width.vt)

    def V(self, coefficients: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Coefficients to image."""
        return two_sided(self.height.vt.T, coefficients, self.width.vt.T)

    def Ut(self, y: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Measurement to coefficients."""
        return jnp.where(self.values > 0, self._all_coefficients(y), 0.0)

    def U(self, coefficients: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Coefficients to measurement."""
        return two_sided(self.height.u, coefficients, self.width.u)

    def pinv(self, y: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Divides by the singular values that are not zero and, as published, leaves the other coefficients in.

        So it is the Moore-Penrose inverse for y = A(x), but lets noise through. With ``identity_pinv`` it is y itself.
        """
        if self.identity_pinv:
            return y
        return self.V(self._all_coefficients(y) / jnp.where(self.values > 0, self.values, 1.0))

    def _all_coefficients(self, y: Array) -> Array:
        return two_sided(self.height.u.T, y, self.width.u.T)


def legacy_uniform_blur(in_shape: tuple[int, int, int], *, identity_pinv: bool = False) -> LegacyBlur:
    """The published 9-tap box blur (``deblur_uni``) as its code computes it; ``uniform_blur`` is what it describes.

    It has 8 taps of 1/9 at offsets -4 to 3 and zeros beyond the border. Singular values below 3e-2 on an axis are set
    to zero, and the others are misplaced among the channels: see this module's head. The published code's order of
    equal singular values is not known; ours is row by row.

    Args:
        in_shape: ``(H, W, C)`` of one image.
        identity_pinv: Whether ``pinv`` returns y itself, as for the published ``bdeblur_uni``.

    Source:
        Mardani et al. 2023 (arXiv 2305.04391), whose published code takes this from that of Kawar et al. 2022 (arXiv
        2201.11793).
    """
    return _legacy_blur("legacy_uniform_blur", in_shape, np.full(9, 1 / 9), identity_pinv)


def legacy_gaussian_blur(in_shape: tuple[int, int, int]) -> LegacyBlur:
    """The published Gaussian blur (``deblur_gauss``) as its code computes it; ``gaussian_blur`` is a Gaussian one.

    A Gaussian of 25 pixels on 5 taps is nearly a box. Of its taps 4 are used, at offsets -2 to 1. The rest is as in
    ``legacy_uniform_blur``.

    Args:
        in_shape: ``(H, W, C)`` of one image.

    Source:
        As for ``legacy_uniform_blur``.
    """
    taps = np.exp(-0.5 * (np.arange(-2, 3) / 25) ** 2)
    return _legacy_blur("legacy_gaussian_blur", in_shape, taps / taps.sum(), False)


def _legacy_blur(name: str, in_shape: tuple[int, int, int], taps: np.ndarray, identity_pinv: bool) -> LegacyBlur:
    in_shape = check_image_shape(f"{name}: in_shape", in_shape)
    half = len(taps) // 2
    height, width = (
        matrix_svd(np.sum([taps[half + offset] * np.eye(size, k=offset) for offset in range(-half, half)], axis=0))
        for size in in_shape[:2]
    )
    s_h, s_w = (np.where((s := np.asarray(svd.s, np.float64)) < _LEAST_SINGULAR, 0.0, s) for svd in (height, width))
    products = np.outer(s_h, s_w).ravel()
    order = np.argsort(-products, kind="stable")
    values = np.empty((products.size, in_shape[2]))
    values[order] = np.resize(products[order], values.shape)  # channel after channel, read pixel by pixel
    return LegacyBlur(
        in_shape=in_shape,
        height=height,
        width=width,
        values=jnp.asarray(values.reshape(in_shape), dtype=float),
        identity_pinv=identity_pinv,
    )
