"""Demosaicing: a camera's sensor sees one colour in each pixel."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax._checks import check_image_shape
from reddiff_jax.operators._base import SpectralOperator

X_TRANS = ("GBGGRG", "RGRBGB", "GBGGRG", "GRGGBG", "BGBRGR", "GRGGBG")
"""The tile of Fujifilm's X-Trans sensors."""

_TENT = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4


@struct.dataclass
class Demosaicing(SpectralOperator):
    """One colour of each pixel, ``y = sum_c mask[c] x[c]``; build it with ``demosaicing``."""

    mask: jax.Array  # (H, W, 3), 1 = the pixel's colour

    keeps_range = True

    @property
    def singulars(self) -> Float[Array, "H W 3"]:
        """The mask."""
        return self.mask

    def Vt(self, x: Float[Array, "H W 3"]) -> Float[Array, "H W 3"]:
        """Coefficients are pixels."""
        return x

    def V(self, coefficients: Float[Array, "H W 3"]) -> Float[Array, "H W 3"]:
        """Pixels are coefficients."""
        return coefficients

    def Ut(self, y: Float[Array, "H W 1"]) -> Float[Array, "H W 3"]:
        """Puts each value into its colour."""
        return self.mask * y

    def U(self, coefficients: Float[Array, "H W 3"]) -> Float[Array, "H W 1"]:
        """Takes each pixel's colour."""
        colours = self.mask * coefficients
        # One by one: a sum over so short an axis is slow on a CPU.
        return colours[:, :, :1] + colours[:, :, 1:2] + colours[:, :, 2:]

    def __call__(self, x: Float[Array, "H W 3"]) -> Float[Array, "H W 1"]:
        """Measures one image."""
        return self.U(x)

    def adjoint(self, y: Float[Array, "H W 1"]) -> Float[Array, "H W 3"]:
        """Puts each value into its colour."""
        return self.mask * y

    def pinv(self, y: Float[Array, "H W 1"]) -> Float[Array, "H W 3"]:
        """Each value in its colour, and zero (mid-grey) in the other two."""
        return self.mask * y

    def bilinear(self, y: Float[Array, "H W 1"]) -> Float[Array, "H W 3"]:
        """Fills each colour in by the mean of its measured neighbours. The result explains y too, and is a good start.

        For a Bayer pattern this is bilinear interpolation. ``rd.problem(y, operator, init=operator.bilinear(y))`` and
        ``init=rd.solvers.init_given`` start a solver there.
        """
        seen, weight = _neighbours(self.mask * y), _neighbours(self.mask)
        filled = jnp.where(weight > 0, seen / jnp.where(weight > 0, weight, 1.0), 0.0)
        return jnp.where(self.mask > 0, y, filled)


def demosaicing(in_shape: tuple[int, int, int], *, pattern: str | Sequence[str] = "RGGB") -> Demosaicing:
    """A colour filter array: each pixel of y (H, W, 1) is one of the colours of x (H, W, 3).

    Args:
        in_shape: ``(H, W, 3)`` of one image; any size.
        pattern: Rows of the tile that repeats from the top left corner, of the letters R, G, B; four letters alone are
            the 2 x 2 tile of a Bayer sensor, row by row. ``rd.operators.X_TRANS`` is a 6 x 6 tile.

    Raises:
        ValueError: If the image does not have three channels, or the pattern is not a tile of R, G and B.

    Source:
        Bayer 1976, US patent 3971065.
    """
    in_shape = check_image_shape("demosaicing: in_shape", in_shape)
    if in_shape[2] != 3:
        raise ValueError(
            f"demosaicing: in_shape is {in_shape} but a mosaic is made of 3 channels, red, green and blue."
        )
    rows = (pattern[:2], pattern[2:]) if isinstance(pattern, str) else tuple(pattern)
    letters = [["RGB".find(letter) for letter in row.upper()] for row in rows]
    if not letters or not letters[0] or len({len(row) for row in letters}) != 1 or -1 in np.ravel(letters):
        raise ValueError(
            f"demosaicing: pattern is {pattern!r} but must be four letters of R, G and B, for example 'RGGB', "
            "or the rows of a larger tile, as rd.operators.X_TRANS."
        )
    tile = np.array(letters)
    repeats = [-(-size // side) for size, side in zip(in_shape[:2], tile.shape, strict=True)]
    colours = np.tile(tile, repeats)[: in_shape[0], : in_shape[1]]
    return Demosaicing(in_shape=in_shape, mask=jnp.asarray(np.eye(3)[colours], dtype=float))


def _neighbours(x: Float[Array, "H W 3"]) -> Float[Array, "H W 3"]:
    """Weighted sums over 3 x 3 pixels, zero beyond the border."""
    height, width, _ = x.shape
    padded = jnp.pad(x, ((1, 1), (1, 1), (0, 0)))
    return sum(  # type: ignore[return-value]
        _TENT[i, j] * padded[i : i + height, j : j + width] for i in range(3) for j in range(3)
    )
