"""Operators that act on rows and columns by two small matrices."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax._repr import Detail, Repr, shown
from reddiff_jax.operators._base import SpectralOperator


@struct.dataclass
class MatrixSVD(Repr):
    """A matrix (h, H) with its decomposition ``matrix = u diag(s) vt[:k]``, k = min(h, H)."""

    matrix: jax.Array  # (h, H)
    u: jax.Array  # (h, k)
    s: jax.Array  # (H,), zero beyond the rank
    vt: jax.Array  # (H, H), orthogonal

    def _repr_parts(self, detail: Detail) -> list[str]:
        return [shown(self.matrix, detail)]


def matrix_svd(matrix: np.ndarray) -> MatrixSVD:
    """Decomposes a concrete matrix in float64 on the host; the leaves have JAX's default float."""
    matrix = np.asarray(matrix, np.float64)
    u, s, vt = np.linalg.svd(matrix, full_matrices=True)
    s = np.where(s > max(matrix.shape) * np.finfo(np.float64).eps * s.max(), s, 0.0)
    s = np.pad(s, (0, matrix.shape[1] - s.size))
    u = u[:, : min(matrix.shape)]
    return MatrixSVD(*(jnp.asarray(leaf, dtype=float) for leaf in (matrix, u, s, vt)))


@struct.dataclass
class SeparableOperator(SpectralOperator):
    """``y = A_h x A_w^T`` in each channel, A = kron(A_h, A_w): a base, made concrete by a name and a factory.

    Coefficients have the shape of the image: entry (i, j) belongs to the i-th right singular vector of A_h and the j-th
    of A_w, with the singular value ``s_h[i] * s_w[j]``.
    """

    height: MatrixSVD  # of A_h (h, H)
    width: MatrixSVD  # of A_w (w, W)

    @property
    def singulars(self) -> Float[Array, "H W 1"]:
        """Products of the two matrices' singular values."""
        return (self.height.s[:, None] * self.width.s[None, :])[:, :, None]

    def Vt(self, x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Image to coefficients."""
        return two_sided(self.height.vt, x, self.width.vt)

    def V(self, coefficients: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Coefficients to image."""
        return two_sided(self.height.vt.T, coefficients, self.width.vt.T)

    def Ut(self, y: Float[Array, "h w C"]) -> Float[Array, "H W C"]:
        """Measurement to coefficients."""
        coefficients = two_sided(self.height.u.T, y, self.width.u.T)  # (k_h, k_w, C)
        missing = [(0, full - size) for full, size in zip(self.in_shape, coefficients.shape, strict=True)]
        return jnp.where(self.singulars > 0, jnp.pad(coefficients, missing), 0.0)

    def U(self, coefficients: Float[Array, "H W C"]) -> Float[Array, "h w C"]:
        """Coefficients to measurement."""
        u_h, u_w = self.height.u, self.width.u
        return two_sided(u_h, coefficients[: u_h.shape[1], : u_w.shape[1]], u_w)

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "h w C"]:
        """Measures one image by the matrices themselves: half the products of the decomposition's."""
        return two_sided(self.height.matrix, x, self.width.matrix)

    def adjoint(self, y: Float[Array, "h w C"]) -> Float[Array, "H W C"]:
        """Applies A^T."""
        return two_sided(self.height.matrix.T, y, self.width.matrix.T)


def two_sided(left: Array, x: Array, right: Array) -> Array:
    """``left x right^T`` in each channel."""
    highest = jax.lax.Precision.HIGHEST
    rows = jnp.einsum("ij,jkc->ikc", left, x, precision=highest)
    return jnp.einsum("ikc,lk->ilc", rows, right, precision=highest)
