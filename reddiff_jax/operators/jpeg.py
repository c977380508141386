"""JPEG: the picture was compressed."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int

from reddiff_jax._checks import check_image_shape, check_numbers
from reddiff_jax.operators._base import ProximalOperator
from reddiff_jax.operators._straight_through import nearest_in_bins, round_to_whole

_BLOCK = 8
# ITU-T T.81, annex K, tables K.1 and K.2.
_LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
# JFIF 1.02: rows are Y, Cb, Cr.
_YCBCR = np.array(
    [
        [0.299, 0.587, 0.114],
        [-0.299 / 1.772, -0.587 / 1.772, 0.886 / 1.772],
        [0.701 / 1.402, -0.587 / 1.402, -0.114 / 1.402],
    ]
)
_RGB = np.linalg.inv(_YCBCR)
_DCT = np.sqrt(2 / _BLOCK) * np.cos(np.pi / _BLOCK * np.outer(np.arange(_BLOCK), np.arange(_BLOCK) + 0.5))
_DCT[0] /= np.sqrt(2)


@struct.dataclass
class Jpeg(ProximalOperator):
    """Quantisation of block cosine coefficients, and back; build it with ``jpeg``."""

    quality: jax.Array  # scalar, int32
    subsampling: int = struct.field(pytree_node=False)
    straight_through: bool = struct.field(pytree_node=False)

    keeps_range = True

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Measures one image: what a decoder gives, not clipped."""
        coefficients = self.coefficients(x)
        whole = [round_to_whole(plane, straight_through=self.straight_through) for plane in coefficients]
        return (self._synthesise(whole) + 0.5) / 127.5

    def pinv(self, y: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """The measurement itself, which is its own compression."""
        return y

    def coefficients(self, x: Float[Array, "H W C"]) -> list[Float[Array, "bh bw 8 8"]]:
        """Cosine coefficients of each plane (Y, Cb, Cr, or grey alone) in quantisation steps, before rounding."""
        height, width, channels = x.shape
        levels = 127.5 * x - 0.5  # [0, 255] less 128
        missing = [(0, -size % self._tile) for size in (height, width)]
        levels = jnp.pad(levels, [*missing, (0, 0)], mode="edge")
        if channels == 3:
            # The weights of Cb and Cr sum to 0, so that the 128 are taken off Y alone.
            levels = _mix(_YCBCR, levels)
        planes = [levels[:, :, 0], *(_average(levels[:, :, i], self.subsampling) for i in range(1, channels))]
        steps = self._steps(x.dtype)
        return [_transform(_DCT, _to_blocks(plane)) / step for plane, step in zip(planes, steps, strict=True)]

    def project(self, x: Float[Array, "H W C"], y: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """The picture nearest to ``x``, in YCbCr, of those that are compressed to ``y``.

        Each coefficient is clipped to the bin of y's coefficient, half a quantisation step to either side. What the
        sub-sampling of the chroma lost is taken from x. A solver's own step may be followed by this one, for exact
        consistency with the data.

        Where a side is not divisible by 8 (16 with sub-sampled chroma), the blocks at that border depend on pixels
        beyond it, and the result is only near to the bin.

        Args:
            x: Any image.
            y: A measurement of this operator.
        """
        return self._moved(x, [jnp.round(measured) for measured in self.coefficients(y)], 0.0)

    def proximal(
        self, x: Float[Array, "H W C"], y: Float[Array, "H W C"], rho: Float[Array, ""] | float
    ) -> Float[Array, "H W C"]:
        """The picture that is nearest to x and y at once, in YCbCr; of y without noise it is ``project``'s."""
        return self._moved(x, self.coefficients(y), rho)

    def _moved(
        self, x: Float[Array, "H W C"], measured: list[Float[Array, "bh bw 8 8"]], rho: Float[Array, ""] | float
    ) -> Float[Array, "H W C"]:
        """The proximal step of each coefficient."""
        mine = self.coefficients(x)
        change = [nearest_in_bins(a, b, rho) - a for a, b in zip(mine, measured, strict=True)]
        return x + self._synthesise(change) / 127.5

    @property
    def _tile(self) -> int:
        """What padded sides are divisible by."""
        return _BLOCK * (self.subsampling if self.in_shape[2] == 3 else 1)

    def _synthesise(self, coefficients: list[Float[Array, "bh bw 8 8"]]) -> Float[Array, "H W C"]:
        """Pixels in levels less 128: linear, unlike ``coefficients``, which is affine."""
        height, width, channels = self.in_shape
        steps = self._steps(coefficients[0].dtype)
        planes = [
            _from_blocks(_transform(_DCT.T, plane * step)) for plane, step in zip(coefficients, steps, strict=True)
        ]
        levels = jnp.stack([planes[0], *(_replicate(plane, self.subsampling) for plane in planes[1:])], axis=-1)
        if channels == 3:
            levels = _mix(_RGB, levels)
        return levels[:height, :width]

    def _steps(self, dtype: jnp.dtype) -> list[Float[Array, "1 1 8 8"]]:
        """Quantisation steps of each plane."""
        bases = (_LUMINANCE, _CHROMINANCE, _CHROMINANCE)[: self.in_shape[2]]
        return [quantization_table(base, self.quality).astype(dtype)[None, None] for base in bases]


def jpeg(
    in_shape: tuple[int, int, int],
    quality: int | Int[Array, ""] = 20,
    *,
    subsampling: int = 2,
    straight_through: bool = True,
) -> Jpeg:
    """JPEG compression: ``y`` is the decoded picture, not clipped to [-1, 1].

    ``y = D(round(E(x)))``: E maps to YCbCr, averages chroma over ``subsampling x subsampling`` pixels, applies the
    orthonormal cosine transform to blocks of 8 x 8 and divides by the quantisation table; D goes back. Entropy coding
    is lossless and left out. For sides divisible by 8 (16 with sub-sampled chroma) ``A(A(x)) = A(x)``. Other sides are
    padded by repeating the last pixel, and then this does not hold for the blocks at that border. A file's
    decoder also rounds to 8 bits and clips, and may interpolate chroma where D repeats it.

    A quality for each image of a batch: ``jax.vmap(lambda q: rd.jpeg(in_shape, q))(qualities)``.

    Args:
        in_shape: ``(H, W, C)`` of one image, C = 3 (RGB) or 1 (grey); any H and W.
        quality: 1 (worst) to 100, as in the IJG's library; may be traced. Default: ``jpeg20``.
        subsampling: Side of the squares over which chroma is averaged: 2 is 4:2:0, 1 is 4:4:4.
        straight_through: Takes the derivative of rounding for 1. The true one is zero, so that a solver that follows
            gradients has no data term, as in the published RED-diff code.

    Raises:
        ValueError: If the image has other than 1 or 3 channels, a concrete ``quality`` is not a whole number from 1 to
            100, or ``subsampling`` is neither 1 nor 2.

    Source:
        ITU-T T.81, JFIF 1.02, tables scaled as by the Independent JPEG Group's library; as an inverse problem Kawar et
        al. 2022 (arXiv 2209.11888). The published RED-diff code keeps every second chroma sample; we
        average them, as encoders do.
    """
    in_shape = check_image_shape("jpeg: in_shape", in_shape)
    if in_shape[2] not in (1, 3):
        raise ValueError(f"jpeg: in_shape is {in_shape} but JPEG has 3 channels (RGB) or 1 (grey).")
    needed = "a whole number from 1 (worst) to 100"
    check_numbers("jpeg: quality", quality, lambda x: np.isin(x, range(1, 101)), needed)
    if subsampling not in (1, 2):
        raise ValueError(f"jpeg: subsampling is {subsampling} but must be 2 (4:2:0) or 1 (4:4:4, none).")
    return Jpeg(
        in_shape=in_shape,
        quality=jnp.asarray(quality, jnp.int32),
        subsampling=subsampling,
        straight_through=straight_through,
    )


def quantization_table(base: tuple[tuple[int, ...], ...], quality: Int[Array, ""]) -> Int[Array, "8 8"]:
    """The IJG's table, ``clip((base * S + 50) // 100, 1, 255)``, S = 5000 // Q for Q < 50, else 200 - 2 Q."""
    scale = jnp.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return jnp.clip((jnp.asarray(base) * scale + 50) // 100, 1, 255)


def _mix(matrix: np.ndarray, pixels: Float[Array, "H W 3"]) -> Float[Array, "H W 3"]:
    weights = jnp.asarray(matrix, pixels.dtype)
    return jnp.einsum("ij,hwj->hwi", weights, pixels, precision=jax.lax.Precision.HIGHEST)


def _average(plane: Float[Array, "H W"], factor: int) -> Float[Array, "h w"]:
    height, width = plane.shape
    return plane.reshape(height // factor, factor, width // factor, factor).mean((1, 3))


def _replicate(plane: Float[Array, "h w"], factor: int) -> Float[Array, "H W"]:
    return jnp.repeat(jnp.repeat(plane, factor, axis=0), factor, axis=1)


def _to_blocks(plane: Float[Array, "H W"]) -> Float[Array, "bh bw 8 8"]:
    height, width = plane.shape
    return plane.reshape(height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK).swapaxes(1, 2)


def _from_blocks(blocks: Float[Array, "bh bw 8 8"]) -> Float[Array, "H W"]:
    rows, columns = blocks.shape[:2]
    return blocks.swapaxes(1, 2).reshape(rows * _BLOCK, columns * _BLOCK)


def _transform(matrix: np.ndarray, blocks: Float[Array, "bh bw 8 8"]) -> Float[Array, "bh bw 8 8"]:
    """``matrix block matrix^T`` of each block."""
    matrix_ = jnp.asarray(matrix, blocks.dtype)
    return jnp.einsum("ij,abjk,lk->abil", matrix_, blocks, matrix_, precision=jax.lax.Precision.HIGHEST)
