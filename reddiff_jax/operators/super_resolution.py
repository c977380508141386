"""Super-resolution: the picture was made smaller."""

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax._checks import check_image_shape, check_whole
from reddiff_jax.operators._separable import SeparableOperator, matrix_svd


@struct.dataclass
class SuperResolution(SeparableOperator):
    """Means of blocks of ``factor x factor`` pixels; build it with ``super_resolution``."""

    factor: int = struct.field(pytree_node=False)

    keeps_range = True

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "h w C"]:
        """Measures one image."""
        height, width, channels = self.in_shape
        k = self.factor
        return x.reshape(height // k, k, width // k, k, channels).mean(axis=(1, 3))

    def adjoint(self, y: Float[Array, "h w C"]) -> Float[Array, "H W C"]:
        """Spreads each mean over its block."""
        return self.pinv(y) / self.factor**2

    def pinv(self, y: Float[Array, "h w C"]) -> Float[Array, "H W C"]:
        """Nearest-neighbour upsampling, which is exactly the Moore-Penrose inverse."""
        return jnp.repeat(jnp.repeat(y, self.factor, axis=0), self.factor, axis=1)


@struct.dataclass
class Bicubic(SeparableOperator):
    """Antialiased bicubic downsampling; build it with ``bicubic``."""

    keeps_range = True


def super_resolution(in_shape: tuple[int, int, int], factor: int) -> SuperResolution:
    """Average pooling: each entry of y is the mean of a block of ``factor x factor`` pixels.

    All non-zero singular values are ``1 / factor``; the pseudo-inverse is nearest-neighbour upsampling.

    Args:
        in_shape: ``(H, W, C)`` of one (large) image.
        factor: Side of a block in pixels; divides H and W.

    Raises:
        ValueError: If ``factor`` does not divide H and W.

    Source:
        Kawar et al. 2022 (arXiv 2201.11793), the block-averaging super-resolution, which RED-diff also uses.
    """
    in_shape = _check_factor("super_resolution", in_shape, factor)
    matrices = [np.kron(np.eye(size // factor), np.full((1, factor), 1 / factor)) for size in in_shape[:2]]
    height, width = map(matrix_svd, matrices)
    return SuperResolution(in_shape=in_shape, height=height, width=width, factor=factor)


def bicubic(in_shape: tuple[int, int, int], factor: int) -> Bicubic:
    """Antialiased bicubic downsampling: ``y[o] = sum_p k((p - c_o) / factor) x[p]``, ``c_o = o factor + (factor-1)/2``.

    k is Keys' cubic with a = -1/2, stretched by ``factor`` (4 ``factor`` taps for an even one), normalised to sum 1,
    and applied to rows and columns. Beyond the border the picture is mirrored with its edge pixels repeated.

    Args:
        in_shape: ``(H, W, C)`` of one (large) image.
        factor: Side ratio; divides H and W.

    Raises:
        ValueError: If ``factor`` does not divide H and W.

    Source:
        Keys 1981, "Cubic convolution interpolation for digital image processing"; the antialiased resizing of Kawar et
        al. 2022 (arXiv 2201.11793). Their threshold of 3e-2 on singular values is never reached and is left out.
    """
    in_shape = _check_factor("bicubic", in_shape, factor)
    height, width = (matrix_svd(_bicubic_matrix(size, factor)) for size in in_shape[:2])
    return Bicubic(in_shape=in_shape, height=height, width=width)


def _bicubic_matrix(size: int, factor: int) -> np.ndarray:
    """The (size / factor, size) matrix of one axis."""
    pad = 2 * factor
    positions = np.arange(-pad, size + pad)
    source = np.pad(np.arange(size), pad, mode="symmetric")  # the pixel that each position mirrors
    matrix = np.zeros((size // factor, size))
    for out, row in enumerate(matrix):
        weights = _keys_cubic((positions - out * factor - (factor - 1) / 2) / factor)
        np.add.at(row, source, weights / weights.sum())
    return matrix


def _keys_cubic(u: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution kernel with a = -1/2."""
    u = np.abs(u)
    inner = 1.5 * u**3 - 2.5 * u**2 + 1
    outer = -0.5 * u**3 + 2.5 * u**2 - 4 * u + 2
    return np.where(u <= 1, inner, np.where(u < 2, outer, 0.0))


def _check_factor(name: str, in_shape: tuple[int, int, int], factor: int) -> tuple[int, int, int]:
    in_shape = check_image_shape(f"{name}: in_shape", in_shape)
    check_whole(f"{name}: factor", factor, hint="It divides the picture's sides.")
    if in_shape[0] % factor or in_shape[1] % factor:
        raise ValueError(
            f"{name}: factor is {factor} but must be a whole number that divides the height and width of {in_shape}. "
            "Crop or pad the picture, or take another factor."
        )
    return in_shape
