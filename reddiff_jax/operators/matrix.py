"""Any small matrix as an operator."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from reddiff_jax._checks import check_array, check_finite, check_image_shape
from reddiff_jax.operators._base import SpectralOperator


@struct.dataclass
class MatrixOperator(SpectralOperator):
    """``y = A x`` of the pixels in one vector of n; build it with ``matrix_operator`` or ``gaussian_sensing``.

    Holds the thin decomposition A = U S V_1^T, V_1 (n, k), and completes V_1 to an orthogonal V (n, n) that is never
    stored. With the polar decomposition of the first k rows of V_1, Q P, and W = V_1 + [Q; 0], the block reflection
    R = I - W (I + P)^-1 W^T takes [-Q; 0] to V_1, so that V = R diag(-Q, I).
    """

    u: jax.Array  # (m, k)
    s: jax.Array  # (k,)
    vt: jax.Array  # (k, n), V_1^T
    polar: jax.Array  # (k, k), Q
    inverse: jax.Array  # (k, k), (I + P)^-1

    @property
    def singulars(self) -> Float[Array, "n"]:
        """Singular values, zero on the null space; those at rounding level are zero."""
        return jnp.pad(self.s, (0, self._num_pixels - self._rank))

    def Vt(self, x: Float[Array, "H W C"]) -> Float[Array, "n"]:
        """Image to coefficients."""
        reflected = self._reflect(x.reshape(-1))
        return reflected.at[: self._rank].set(-_matvec(self.polar.T, reflected[: self._rank]))

    def V(self, coefficients: Float[Array, "n"]) -> Float[Array, "H W C"]:
        """Coefficients to image."""
        rotated = coefficients.at[: self._rank].set(-_matvec(self.polar, coefficients[: self._rank]))
        return self._reflect(rotated).reshape(self.in_shape)

    def Ut(self, y: Float[Array, "m"]) -> Float[Array, "n"]:
        """Measurement to coefficients."""
        known = jnp.where(self.s > 0, _matvec(self.u.T, y), 0.0)
        return jnp.pad(known, (0, self._num_pixels - self._rank))

    def U(self, coefficients: Float[Array, "n"]) -> Float[Array, "m"]:
        """Coefficients to measurement."""
        return _matvec(self.u, coefficients[: self._rank])

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "m"]:
        """Measures one image, without the null space's coefficients."""
        return _matvec(self.u, self.s * _matvec(self.vt, x.reshape(-1)))

    def adjoint(self, y: Float[Array, "m"]) -> Float[Array, "H W C"]:
        """Applies A^T."""
        return _matvec(self.vt.T, self.s * _matvec(self.u.T, y)).reshape(self.in_shape)

    @property
    def _rank(self) -> int:
        return self.s.shape[0]

    @property
    def _num_pixels(self) -> int:
        return self.vt.shape[1]

    def _reflect(self, x: Float[Array, "n"]) -> Float[Array, "n"]:
        """Applies the block reflection, which is its own inverse."""
        k = self._rank
        weights = _matvec(self.inverse, _matvec(self.vt, x) + _matvec(self.polar.T, x[:k]))  # (I + P)^-1 W^T x
        return (x - _matvec(self.vt.T, weights)).at[:k].add(-_matvec(self.polar, weights))


def matrix_operator(matrix: Float[Array, "m n"] | np.ndarray, in_shape: tuple[int, int, int]) -> MatrixOperator:
    """Any dense matrix, ``y = A x`` with the pixels of x in one vector, with its singular value decomposition.

    It is for small pictures: it takes O(m n) memory (a few times the matrix's), and O(m n min(m, n)) time when it is
    built. A linear function becomes an operator by ``linear_operator``. A matrix for each image of a batch:
    ``jax.vmap(lambda A: rd.matrix_operator(A, in_shape))(matrices)``.

    Args:
        matrix: ``(m, n)`` with n = H W C, the columns in the order of ``x.reshape(-1)``: rows, columns, channels.
        in_shape: ``(H, W, C)`` of one image.

    Raises:
        ValueError: If the matrix has another number of columns or values that are not finite.
    """
    in_shape = check_image_shape("matrix_operator: in_shape", in_shape)
    check_array("matrix_operator: matrix", matrix, "an array (m, n); in_shape comes after it")
    shape, n = np.shape(matrix), in_shape[0] * in_shape[1] * in_shape[2]
    if len(shape) != 2 or shape[0] < 1 or shape[1] != n:
        raise ValueError(
            f"matrix_operator: matrix has shape {shape} but must be (m, {n}) for in_shape={in_shape}. Is it "
            "transposed, or a batch? For a batch use jax.vmap(lambda A: rd.matrix_operator(A, in_shape))(matrices)."
        )
    check_finite("matrix_operator: matrix", matrix, "Check how it was made or read.")
    u, s, vt = jnp.linalg.svd(jnp.asarray(matrix, dtype=float), full_matrices=False)
    s = jnp.where(s > max(shape) * jnp.finfo(s.dtype).eps * s[0], s, 0.0)
    k = s.shape[0]
    left, cosines, right = jnp.linalg.svd(vt[:, :k].T)  # first k rows of V_1 = left diag(cosines) right = Q P
    highest = jax.lax.Precision.HIGHEST
    polar = jnp.matmul(left, right, precision=highest)
    inverse = jnp.matmul(right.T / (1 + cosines)[None, :], right, precision=highest)
    return MatrixOperator(in_shape=in_shape, u=u, s=s, vt=vt, polar=polar, inverse=inverse)


def _matvec(matrix: Array, vector: Array) -> Array:
    return jnp.matmul(matrix, vector, precision=jax.lax.Precision.HIGHEST)
