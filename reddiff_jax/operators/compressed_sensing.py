"""Compressed sensing: each measurement is a random combination of all pixels."""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, PRNGKeyArray

from reddiff_jax._checks import check_image_shape, check_positive, check_whole
from reddiff_jax._keys import as_key
from reddiff_jax.operators._base import SpectralOperator
from reddiff_jax.operators.matrix import MatrixOperator, matrix_operator

_MAX_ENTRIES = 2**24


@struct.dataclass
class CompressedSensing(SpectralOperator):
    """``y = P H D x`` in each channel: random signs D, orthonormal H, random rows P; ``compressed_sensing`` builds it.

    All non-zero singular values are 1. Coefficients are (H W, C).
    """

    signs: jax.Array  # (H, W, C), 1 or -1
    rows: jax.Array  # (m, C), integers, the coefficients that are measured in each channel, no two the same

    @property
    def singulars(self) -> Float[Array, "n C"]:
        """One where a coefficient is measured."""
        return self.Ut(jnp.ones(self.rows.shape, self.signs.dtype))

    def Vt(self, x: Float[Array, "H W C"]) -> Float[Array, "n C"]:
        """Image to coefficients."""
        return orthonormal_transform((self.signs * x).reshape(-1, self.in_shape[2]))

    def V(self, coefficients: Float[Array, "n C"]) -> Float[Array, "H W C"]:
        """Coefficients to image."""
        return self.signs * orthonormal_transform(coefficients).reshape(self.in_shape)

    def Ut(self, y: Float[Array, "m C"]) -> Float[Array, "n C"]:
        """Measurement to coefficients."""
        height, width, channels = self.in_shape
        return jnp.zeros((height * width, channels), y.dtype).at[self.rows, jnp.arange(channels)[None, :]].set(y)

    def U(self, coefficients: Float[Array, "n C"]) -> Float[Array, "m C"]:
        """Coefficients to measurement."""
        return jnp.take_along_axis(coefficients, self.rows, axis=0)

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "m C"]:
        """Measures one image."""
        return self.U(self.Vt(x))

    def adjoint(self, y: Float[Array, "m C"]) -> Float[Array, "H W C"]:
        """Applies A^T."""
        return self.V(self.Ut(y))

    def pinv(self, y: Float[Array, "m C"]) -> Float[Array, "H W C"]:
        """Applies A^T, which is the Moore-Penrose inverse: the rows of A are orthonormal."""
        return self.adjoint(y)


def compressed_sensing(
    key: PRNGKeyArray,
    in_shape: tuple[int, int, int],
    *,
    ratio: float | None = None,
    num_measurements: int | None = None,
) -> CompressedSensing:
    """Randomly signed pixels, a fast orthonormal transform, and a random part of its coefficients, in each channel.

    The transform is Walsh-Hadamard's where the number of pixels is a power of two. Otherwise, with H W = 2^k q, it is
    the Kronecker product of Walsh-Hadamard's of size 2^k and Hartley's of the odd size q. So no picture needs padding,
    all rows are orthonormal and the pseudo-inverse is exact. It takes O(n log n) time and O(n) memory. Every channel
    has its own signs and rows, and so has every image under
    ``jax.vmap(lambda key: rd.compressed_sensing(key, in_shape))(keys)``.

    Args:
        key: PRNG key of the signs and rows.
        in_shape: ``(H, W, C)`` of one image.
        ratio: Measurements as a fraction of the pixels, in (0, 1]; 1/4 if ``num_measurements`` is not given either.
        num_measurements: m, the number of measurements of each channel, instead of ``ratio``.

    Raises:
        ValueError: If both are given, or there would be no measurement or more than pixels.

    Source:
        The Walsh-Hadamard compressed sensing of Kawar et al. 2022 (arXiv 2201.11793, there without signs; their ratio
        4 is our 1/4). Random signs: Do et al. 2012 (arXiv 1106.5037), which make it work whatever pictures look like.
    """
    key, in_shape = as_key("compressed_sensing: key", key), check_image_shape("compressed_sensing: in_shape", in_shape)
    n = in_shape[0] * in_shape[1]
    if ratio is not None and num_measurements is not None:
        raise ValueError(
            f"compressed_sensing: ratio={ratio} and num_measurements={num_measurements}; give one of them."
        )
    if num_measurements is None:
        ratio = 0.25 if ratio is None else ratio
        check_positive("compressed_sensing: ratio", ratio)
        if not ratio <= 1:
            raise ValueError(f"compressed_sensing: ratio is {ratio} but must be the fraction of pixels, in (0, 1].")
        num_measurements = max(1, round(ratio * n))
    _check_count("compressed_sensing", num_measurements, n, f"the {n} pixels of a channel")
    key_signs, key_rows = jax.random.split(key)
    signs = jax.random.rademacher(key_signs, in_shape, dtype=float)
    permuted = jax.vmap(lambda key: jax.random.permutation(key, n))(jax.random.split(key_rows, in_shape[2]))
    return CompressedSensing(in_shape=in_shape, signs=signs, rows=permuted[:, :num_measurements].T)


def gaussian_sensing(key: PRNGKeyArray, in_shape: tuple[int, int, int], num_measurements: int) -> MatrixOperator:
    """Independent Gaussian combinations of all pixels and channels: ``y = A x``, ``A_ij ~ N(0, 1/m)``.

    This is the textbook's dense matrix, for small pictures: it takes O(m n) memory, and O(m^2 n) time to be decomposed
    when it is built. A matrix for each image: ``jax.vmap(lambda key: rd.gaussian_sensing(key, in_shape, m))(keys)``.

    Args:
        key: PRNG key of the matrix.
        in_shape: ``(H, W, C)`` of one image; n = H W C.
        num_measurements: m, from 1 to n.

    Raises:
        ValueError: If m is not from 1 to n, or the matrix has more than 2^24 entries.

    Source:
        Candes and Tao 2006, "Near-optimal signal recovery from random projections"; scaled so that E |A x|^2 = |x|^2.
    """
    key, in_shape = as_key("gaussian_sensing: key", key), check_image_shape("gaussian_sensing: in_shape", in_shape)
    n = in_shape[0] * in_shape[1] * in_shape[2]
    _check_count("gaussian_sensing", num_measurements, n, f"the {n} values of in_shape={in_shape}")
    if num_measurements * n > _MAX_ENTRIES:
        raise ValueError(
            f"gaussian_sensing: a dense matrix of {num_measurements} x {n} is too large (more than {_MAX_ENTRIES} "
            "entries). Use rd.compressed_sensing, whose transform is fast and not stored."
        )
    matrix = jax.random.normal(key, (num_measurements, n), dtype=float) * num_measurements**-0.5
    return matrix_operator(matrix, in_shape)


def orthonormal_transform(x: Float[Array, "n C"]) -> Float[Array, "n C"]:
    """Walsh-Hadamard of the 2^k of n = 2^k q and Hartley of the odd q, along the first axis: its own inverse."""
    n, channels = x.shape
    power = n & -n  # 2^k
    blocks = 1
    while blocks < power:
        pairs = x.reshape(blocks, 2, -1)
        x = jnp.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], axis=1)
        blocks *= 2
    if power < n:
        spectrum = jnp.fft.fft(x.reshape(power, n // power, channels), axis=1)
        x = spectrum.real - spectrum.imag
    return x.reshape(n, channels) * n**-0.5


def _check_count(name: str, count: int, most: int, what: str) -> None:
    if not check_whole(f"{name}: num_measurements", count) <= most:
        raise ValueError(f"{name}: num_measurements is {count} but must be a whole number from 1 to {what}.")
