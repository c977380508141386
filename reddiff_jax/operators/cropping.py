"""Pictures without their margins, and with margins added."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax._checks import check_image_shape
from reddiff_jax.operators._base import SpectralOperator
from reddiff_jax.operators.boundaries import Boundary, check_boundary, pad_mode

Margins = int | tuple[int, int] | tuple[tuple[int, int], tuple[int, int]]
"""Pixels on all sides, (vertical, horizontal), or ((top, bottom), (left, right))."""


@struct.dataclass
class Crop(SpectralOperator):
    """The picture without its margins; build it with ``crop``."""

    margins: tuple[tuple[int, int], tuple[int, int]] = struct.field(pytree_node=False)  # (top, bottom), (left, right)

    keeps_range = True

    @property
    def singulars(self) -> Float[Array, "H W 1"]:
        """One inside, zero on the margins."""
        height, width, _ = self.out_shape
        return jnp.pad(jnp.ones((height, width, 1)), (*self.margins, (0, 0)))

    def Vt(self, x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Coefficients are pixels."""
        return x

    def V(self, coefficients: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Pixels are coefficients."""
        return coefficients

    def Ut(self, y: Float[Array, "h w C"]) -> Float[Array, "H W C"]:
        """Zeros around the picture."""
        return jnp.pad(y, (*self.margins, (0, 0)))

    def U(self, coefficients: Float[Array, "H W C"]) -> Float[Array, "h w C"]:
        """Cuts the margins off."""
        (top, bottom), (left, right) = self.margins
        height, width, _ = self.in_shape
        return coefficients[top : height - bottom, left : width - right]

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "h w C"]:
        """Measures one image."""
        return self.U(x)

    def adjoint(self, y: Float[Array, "h w C"]) -> Float[Array, "H W C"]:
        """Zeros (mid-grey) around the picture."""
        return self.Ut(y)

    def pinv(self, y: Float[Array, "h w C"]) -> Float[Array, "H W C"]:
        """Zeros (mid-grey) around the picture."""
        return self.Ut(y)


@struct.dataclass
class Pad(SpectralOperator):
    """The picture continued beyond its border; build it with ``pad``.

    A pixel that is seen n times has the singular value sqrt(n).
    """

    counts: jax.Array  # (H, W, 1), how often each pixel is seen
    margins: tuple[tuple[int, int], tuple[int, int]] = struct.field(pytree_node=False)  # (top, bottom), (left, right)
    boundary: Boundary = struct.field(pytree_node=False)

    keeps_range = True

    @property
    def singulars(self) -> Float[Array, "H W 1"]:
        """Square roots of the counts."""
        return jnp.sqrt(self.counts)

    def Vt(self, x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Coefficients are pixels."""
        return x

    def V(self, coefficients: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Pixels are coefficients."""
        return coefficients

    def Ut(self, y: Float[Array, "h w C"]) -> Float[Array, "H W C"]:
        """Measurement to coefficients."""
        return self.adjoint(y) / self.singulars

    def U(self, coefficients: Float[Array, "H W C"]) -> Float[Array, "h w C"]:
        """Coefficients to measurement."""
        return self(coefficients / self.singulars)

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "h w C"]:
        """Measures one image."""
        return jnp.pad(x, (*self.margins, (0, 0)), mode=pad_mode(self.boundary))

    def adjoint(self, y: Float[Array, "h w C"]) -> Float[Array, "H W C"]:
        """The sum of all places where a pixel is seen."""
        (x,) = jax.linear_transpose(self.__call__, jax.ShapeDtypeStruct(self.in_shape, y.dtype))(y)
        return x


def crop(in_shape: tuple[int, int, int], margins: Margins) -> Crop:
    """The picture without its margins.

    ``rd.operators.crop(in_shape, 15) @ rd.blur(kernel, in_shape)`` is a blur of 31 taps that no boundary touches: what
    lies beyond the measured field is part of the unknown.

    Args:
        in_shape: ``(H, W, C)`` of one image.
        margins: Pixels to cut: on all sides, (vertical, horizontal), or ((top, bottom), (left, right)).

    Raises:
        ValueError: If nothing is left, or a margin is negative.
    """
    in_shape = check_image_shape("crop: in_shape", in_shape)
    margins = _check_margins("crop", margins)
    if any(sum(pair) >= size for pair, size in zip(margins, in_shape[:2], strict=True)):
        raise ValueError(f"crop: margins {margins} leave nothing of a picture of {in_shape}. Take smaller ones.")
    return Crop(in_shape=in_shape, margins=margins)


def pad(in_shape: tuple[int, int, int], margins: Margins, *, boundary: Boundary = Boundary.ZERO) -> Pad:
    """The picture continued beyond its border.

    Args:
        in_shape: ``(H, W, C)`` of one image.
        margins: Pixels to add: on all sides, (vertical, horizontal), or ((top, bottom), (left, right)).
        boundary: How the picture goes on. With zeros (mid-grey) the pseudo-inverse is the crop; otherwise it is the
            mean of all places where a pixel is seen.

    Raises:
        ValueError: If a margin is negative.
    """
    in_shape = check_image_shape("pad: in_shape", in_shape)
    margins = _check_margins("pad", margins)
    boundary = check_boundary("pad", boundary)
    rows, columns = (
        np.pad(np.eye(size), (pair, (0, 0)), mode=pad_mode(boundary)).sum(0)
        for size, pair in zip(in_shape[:2], margins, strict=True)
    )
    counts = jnp.asarray(np.outer(rows, columns)[:, :, None], dtype=float)
    return Pad(in_shape=in_shape, counts=counts, margins=margins, boundary=boundary)


def _check_margins(name: str, margins: Margins) -> tuple[tuple[int, int], tuple[int, int]]:
    try:
        pairs = np.asarray(margins)
        pairs = np.broadcast_to(pairs[:, None] if pairs.ndim == 1 else pairs, (2, 2))
        valid = (pairs >= 0).all() and (pairs == pairs.astype(int)).all()
    except (ValueError, TypeError):
        valid = False
    if not valid:
        raise ValueError(
            f"{name}: margins are {margins} but must be whole numbers, not negative: one for all sides, (vertical, "
            "horizontal), or ((top, bottom), (left, right))."
        )
    (top, bottom), (left, right) = pairs.astype(int).tolist()
    return (top, bottom), (left, right)
