"""Colorization: only the grey picture is seen."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax._checks import check_image_shape, numbers
from reddiff_jax.operators._base import SpectralOperator


@struct.dataclass
class Colorization(SpectralOperator):
    """The weighted sum of the channels; build it with ``colorization``.

    Coefficients are the channels in the basis ``vt``, whose first vector is the direction of the weights.
    """

    weights: jax.Array  # (C,)
    vt: jax.Array  # (C, C), orthogonal; vt[0] = weights / |weights|

    @property
    def keeps_range(self) -> bool:
        """Whether the weights are those of a mean."""
        weights = numbers(self.weights)
        return weights is not None and bool((np.abs(weights).sum(-1) <= 1 + 1e-3).all())

    @property
    def singulars(self) -> Float[Array, "1 1 C"]:
        """The length of the weights, and zeros."""
        length = jnp.sqrt(jnp.sum(self.weights**2))
        return jnp.zeros((1, 1, self.in_shape[2])).at[0, 0, 0].set(length)

    def Vt(self, x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Image to coefficients."""
        return _mix(self.vt, x)

    def V(self, coefficients: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Coefficients to image."""
        return _mix(self.vt.T, coefficients)

    def Ut(self, y: Float[Array, "H W 1"]) -> Float[Array, "H W C"]:
        """Measurement to coefficients."""
        return jnp.pad(y, ((0, 0), (0, 0), (0, self.in_shape[2] - 1)))

    def U(self, coefficients: Float[Array, "H W C"]) -> Float[Array, "H W 1"]:
        """Coefficients to measurement."""
        return coefficients[:, :, :1]

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "H W 1"]:
        """Measures one image."""
        return _mix(self.weights[None, :], x)

    def adjoint(self, y: Float[Array, "H W 1"]) -> Float[Array, "H W C"]:
        """Gives each channel its share."""
        return self.weights[None, None, :] * y

    def pinv(self, y: Float[Array, "H W 1"]) -> Float[Array, "H W C"]:
        """Replicates the grey value, times ``weights / |weights|^2``."""
        return self.adjoint(y) / jnp.sum(self.weights**2)


def colorization(in_shape: tuple[int, int, int], *, weights: Sequence[float] | None = None) -> Colorization:
    """The grey picture: ``y = sum_c weights[c] x[c]``, of shape (H, W, 1).

    The pseudo-inverse replicates the grey value to the channels, times ``weights / |weights|^2``.

    Args:
        in_shape: ``(H, W, C)`` of one image.
        weights: One weight for each channel. The default is (.3333, .3334, .3333) for C = 3, as published, else 1/C.

    Raises:
        ValueError: If there is not one weight for each channel, or all are zero.

    Source:
        Kawar et al. 2022 (arXiv 2201.11793) and Mardani et al. 2023 (arXiv 2305.04391).
    """
    in_shape = check_image_shape("colorization: in_shape", in_shape)
    channels = in_shape[2]
    if weights is None:
        weights = (0.3333, 0.3334, 0.3333) if channels == 3 else (1 / channels,) * channels
    row = np.asarray(weights, np.float64)
    if row.shape != (channels,) or not np.isfinite(row).all() or not row.any():
        raise ValueError(
            f"colorization: weights are {weights} but must be {channels} finite numbers, not all zero: one for each "
            f"channel of in_shape={in_shape}."
        )
    vt = np.linalg.svd(row[None, :])[2]
    vt[0] = row / np.linalg.norm(row)
    return Colorization(in_shape=in_shape, weights=jnp.asarray(row, dtype=float), vt=jnp.asarray(vt, dtype=float))


def _mix(matrix: Float[Array, "D C"], x: Float[Array, "H W C"]) -> Float[Array, "H W D"]:
    """Combinations of channels, one by one: a sum over so short an axis is slow on a CPU."""
    rows = [sum(matrix[i, j] * x[:, :, j] for j in range(matrix.shape[1])) for i in range(matrix.shape[0])]
    return jnp.stack(rows, axis=2)
