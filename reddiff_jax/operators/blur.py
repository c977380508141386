"""Blurs: convolution with a kernel, for every way to continue a picture beyond its border."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from reddiff_jax import kernels
from reddiff_jax._checks import (
    check_array,
    check_finite,
    check_image_shape,
    check_odd,
    check_positive,
    is_concrete,
    numbers,
)
from reddiff_jax.operators._base import LinearOperator, SpectralOperator
from reddiff_jax.operators._separable import SeparableOperator, matrix_svd
from reddiff_jax.operators.boundaries import Boundary, check_boundary, pad_mode

_PIXELS = (0, 1)
_SUM_TOLERANCE = 1e-2


@struct.dataclass
class SeparableBlur(SeparableOperator):
    """Convolution of rows and columns with one odd kernel; build it with ``gaussian_blur`` or ``uniform_blur``."""

    rcond: float = struct.field(pytree_node=False)

    keeps_range = True


@struct.dataclass
class CircularBlur(SpectralOperator):
    """Circular convolution by FFT; build it with ``blur``.

    ``A = F^H diag(k_hat) F`` with k_hat = |k_hat| exp(i phi). |k_hat| is even in the frequency, so it is diagonal in
    the real Hartley transform Q = Re F - Im F too: A = U S V^T with V = V^T = Q, S = |k_hat| and
    U = F^H diag(exp(i phi)) F Q. All factors are real and orthogonal; coefficients have the shape of the image.
    """

    spectrum: jax.Array  # (H, W, 1 or C), complex, of the kernel with its centre at the origin
    rcond: float = struct.field(pytree_node=False)

    @property
    def keeps_range(self) -> bool:
        """Whether the kernel is a mean."""
        return _is_mean(self.spectrum)

    @property
    def singulars(self) -> Float[Array, "H W #C"]:
        """Absolute values of the kernel's spectrum; those at rounding level are zero."""
        return self._polar()[0]

    def Vt(self, x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Hartley transform."""
        spectrum = jnp.fft.fft2(x, axes=_PIXELS, norm="ortho")
        return spectrum.real - spectrum.imag

    def V(self, coefficients: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Hartley transform, which is its own inverse."""
        return self.Vt(coefficients)

    def Ut(self, y: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Measurement to coefficients."""
        singulars, phase = self._polar()
        return jnp.where(singulars > 0, self.Vt(self._filter(y, jnp.conj(phase))), 0.0)

    def U(self, coefficients: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Coefficients to measurement."""
        return self._filter(self.V(coefficients), self._polar()[1])

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Measures one image."""
        return self._filter(x, self.spectrum)

    def adjoint(self, y: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Correlates with the kernel."""
        return self._filter(y, jnp.conj(self.spectrum))

    def pinv(self, y: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Divides by the kernel's spectrum where that is larger than ``rcond`` times its largest value."""
        size, phase = self._polar()
        kept = size > self.rcond * jnp.max(size)
        return self._filter(y, jnp.where(kept, jnp.conj(phase) / jnp.where(kept, size, 1.0), 0.0))

    def _polar(self) -> tuple[Float[Array, "H W #C"], Complex[Array, "H W #C"]]:
        """Singular values, and phase factors exp(i phi)."""
        size = jnp.abs(self.spectrum)
        # Of a value at rounding level the phase is noise, and its symmetry, which keeps U real, is lost.
        known = size > 8 * jnp.finfo(size.dtype).eps * jnp.max(size)
        return jnp.where(known, size, 0.0), jnp.where(known, self.spectrum / jnp.where(known, size, 1.0), 1.0)

    def _filter(self, x: Array, spectrum: Array) -> Array:
        half = jnp.fft.rfft2(x, axes=_PIXELS) * spectrum[:, : x.shape[1] // 2 + 1]
        return jnp.fft.irfft2(half, s=x.shape[:2], axes=_PIXELS)


@struct.dataclass
class PaddedBlur(LinearOperator):
    """Convolution, by FFT, of the picture continued beyond its border; build it with ``blur``.

    The adjoint is derived; ``pinv`` is that of ``LinearOperator``: a few steps of conjugate gradients.
    """

    spectrum: jax.Array  # (F, G // 2 + 1, 1 or C), complex, of the kernel among zeros of (F, G)
    kernel_shape: tuple[int, int] = struct.field(pytree_node=False)
    boundary: Boundary = struct.field(pytree_node=False)

    @property
    def keeps_range(self) -> bool:
        """Whether the kernel is a mean."""
        return _is_mean(self.spectrum)

    def __call__(self, x: Float[Array, "H W C"]) -> Float[Array, "H W C"]:
        """Measures one image."""
        (height, width, _), (kh, kw) = x.shape, self.kernel_shape
        padding = ((kh - 1 - kh // 2, kh // 2), (kw - 1 - kw // 2, kw // 2), (0, 0))
        padded = jnp.pad(x, padding, mode=pad_mode(self.boundary))  # (H + kh - 1, W + kw - 1, C)
        size = _fft_size(self.in_shape, self.kernel_shape)
        full = jnp.fft.irfft2(jnp.fft.rfft2(padded, s=size, axes=_PIXELS) * self.spectrum, s=size, axes=_PIXELS)
        return full[kh - 1 : kh - 1 + height, kw - 1 : kw - 1 + width]  # where no tap wrapped around


def _is_mean(spectrum: Complex[Array, "F G #C"]) -> bool:
    """Whether a kernel's sum is at most 1, as far as its numbers can be seen."""
    sums = numbers(spectrum[0, 0])
    return sums is not None and bool((np.abs(sums) <= 1 + _SUM_TOLERANCE).all())


def _fft_size(in_shape: tuple[int, int, int], kernel_shape: tuple[int, int]) -> tuple[int, int]:
    """The smallest sizes of the padded picture that transforms are quick for."""
    from scipy.fft import next_fast_len  # a tenth of the time of ``import reddiff_jax.operators``

    height, width = (n + k - 1 for n, k in zip(in_shape[:2], kernel_shape, strict=True))
    return next_fast_len(height, real=True), next_fast_len(width, real=True)  # type: ignore[return-value]


def blur(
    kernel: Float[Array, "kh kw *C"] | np.ndarray,
    in_shape: tuple[int, int, int],
    *,
    boundary: Boundary = Boundary.REFLECT,
    normalize: bool | None = None,
    rcond: float = 3e-2,
) -> CircularBlur | PaddedBlur:
    """Convolution with any kernel, ``y[i] = sum_j kernel[j] x[i + c - j]``, c = (kh // 2, kw // 2), by FFT.

    This is a true convolution: the measurement of a single bright pixel is the kernel, not its mirror image. A kernel
    for each image of a batch: ``jax.vmap(lambda k: rd.blur(k, in_shape))(kernels)``. A kernel may be larger than the
    picture.

    Args:
        kernel: ``(kh, kw)``, shared by the channels, or ``(kh, kw, C)``.
        in_shape: ``(H, W, C)`` of one image.
        boundary: How the picture goes on beyond its border. ``rd.operators.Boundary.CIRCULAR`` gives a
            ``SpectralOperator``, which every solver takes and whose inverse is cheap. Default as in DPS.
        normalize: True divides each channel's kernel by its sum, so that it is 1; False takes any kernel as it is,
            such as a filter that is meant to remove the mean. By default the sum must be 1, to 1 %.
        rcond: The pseudo-inverse of a circular blur takes singular values up to ``rcond`` times the largest for zero.
            The default is that of the published blurs. Other boundaries do not use it.

    Raises:
        ValueError: If the kernel has another shape, is not finite, or does not sum to 1 without ``normalize``.
    """
    in_shape = check_image_shape("blur: in_shape", in_shape)
    boundary = check_boundary("blur", boundary)
    _check_rcond("blur", rcond)
    check_array("blur: kernel", kernel, "an array (kh, kw), such as rd.kernels.gaussian(); in_shape comes after it")
    shape = np.shape(kernel)
    if len(shape) == 2:
        shape = (*shape, 1)
    if len(shape) != 3 or shape[2] not in (1, in_shape[2]) or min(shape) < 1:
        raise ValueError(
            f"blur: kernel has shape {np.shape(kernel)} but one kernel is (kh, kw) or (kh, kw, {in_shape[2]}) for "
            f"in_shape={in_shape}. For a batch use jax.vmap(lambda k: rd.blur(k, in_shape))(kernels)."
        )
    if jnp.iscomplexobj(kernel):
        raise ValueError("blur: kernel is complex but pictures are blurred by real ones. Take kernel.real.")
    check_finite("blur: kernel", kernel, "Check how it was made or read.")
    _check_sum(kernel, len(shape) - np.ndim(kernel), normalize)
    kernel = jnp.asarray(kernel, dtype=float).reshape(shape)
    if normalize is not False:
        # A sum of 1 is one only to rounding.
        kernel = kernel / kernel.sum(axis=_PIXELS, keepdims=True)
    kh, kw = shape[:2]
    if boundary is Boundary.CIRCULAR:
        height, width, _ = in_shape
        rows, columns = (np.arange(kh) - kh // 2) % height, (np.arange(kw) - kw // 2) % width
        wrapped = jnp.zeros((height, width, shape[2]), kernel.dtype)
        wrapped = wrapped.at[rows[:, None], columns[None, :]].add(kernel)
        return CircularBlur(in_shape=in_shape, spectrum=jnp.fft.fft2(wrapped, axes=_PIXELS), rcond=rcond)
    spectrum = jnp.fft.rfft2(kernel, s=_fft_size(in_shape, (kh, kw)), axes=_PIXELS)
    return PaddedBlur(in_shape=in_shape, spectrum=spectrum, kernel_shape=(kh, kw), boundary=boundary)


def motion_blur(
    key: PRNGKeyArray,
    in_shape: tuple[int, int, int],
    *,
    size: int = 61,
    intensity: float = 0.5,
    boundary: Boundary = Boundary.REFLECT,
    rcond: float = 3e-2,
) -> CircularBlur | PaddedBlur:
    """Convolution with a random camera shake: ``blur`` with a ``rd.kernels.motion``.

    A shake for each image of a batch: ``jax.vmap(lambda key: rd.motion_blur(key, in_shape))(keys)``.

    Args:
        key: PRNG key of the shake.
        in_shape: ``(H, W, C)`` of one image.
        size: Side of the kernel in pixels, odd. Default as in DPS.
        intensity: 0 = a straight line, 1 = very shaky. Default as in DPS.
        boundary: How the picture goes on beyond its border. Default as in DPS.
        rcond: As in ``blur``.

    Raises:
        ValueError: If ``size`` is not odd or ``intensity`` is negative.
    """
    return blur(kernels.motion(key, size, intensity), in_shape, boundary=boundary, rcond=rcond)


def gaussian_blur(
    in_shape: tuple[int, int, int],
    *,
    sigma: float = 3.0,
    size: int = 61,
    boundary: Boundary = Boundary.REFLECT,
    rcond: float = 3e-2,
) -> SeparableBlur:
    """Convolution with an isotropic Gaussian of ``size x size`` taps, with its singular value decomposition.

    Args:
        in_shape: ``(H, W, C)`` of one image.
        sigma: Standard deviation in pixels, above 0. Default as in DPS. Per-image or traced values:
            ``rd.blur(rd.kernels.gaussian(size, sigma), in_shape)``.
        size: Number of taps on a side, odd; may exceed the picture. Default as in DPS.
        boundary: How the picture goes on beyond its border. Default as in DPS.
        rcond: The pseudo-inverse takes singular values up to ``rcond`` times the largest for zero.

    Raises:
        ValueError: If ``sigma`` is not above 0 or not concrete, or ``size`` is not odd.

    Source:
        Chung et al. 2022 (arXiv 2209.14687): sigma 3, 61 taps. Their kernel is cut at 4 sigma; ours has all its taps.
        The published RED-diff code truncates singular values below 3e-2 on each axis; we compare the product of both.
    """
    if not is_concrete(sigma):
        raise ValueError(
            "gaussian_blur: sigma is traced but the decomposition is computed when the operator is built. "
            "Use rd.blur(rd.kernels.gaussian(size, sigma), in_shape)."
        )
    check_odd("gaussian_blur: size", size)
    check_positive("gaussian_blur: sigma", sigma, "For no blur use rd.denoising.")
    offsets = np.arange(size) - size // 2
    return _separable_blur("gaussian_blur", in_shape, np.exp(-0.5 * (offsets / float(sigma)) ** 2), boundary, rcond)


def uniform_blur(
    in_shape: tuple[int, int, int],
    *,
    size: int = 9,
    boundary: Boundary = Boundary.REFLECT,
    rcond: float = 3e-2,
) -> SeparableBlur:
    """Mean of ``size x size`` pixels around each one, with its singular value decomposition.

    Args:
        in_shape: ``(H, W, C)`` of one image.
        size: Number of taps on a side, odd; may exceed the picture. Default as published.
        boundary: How the picture goes on beyond its border.
        rcond: The pseudo-inverse takes singular values up to ``rcond`` times the largest for zero.

    Raises:
        ValueError: If ``size`` is not odd.

    Source:
        Kawar et al. 2022 (arXiv 2201.11793), 9 taps. The published codes drop the last tap and mix up the singular
        values of the channels; this is the blur they describe.
    """
    check_odd("uniform_blur: size", size)
    return _separable_blur("uniform_blur", in_shape, np.ones(size), boundary, rcond)


def _separable_blur(
    name: str, in_shape: tuple[int, int, int], taps: np.ndarray, boundary: Boundary, rcond: float
) -> SeparableBlur:
    in_shape = check_image_shape(f"{name}: in_shape", in_shape)
    boundary = check_boundary(name, boundary)
    _check_rcond(name, rcond)
    height, width = (matrix_svd(_blur_matrix(taps / taps.sum(), size, boundary)) for size in in_shape[:2])
    return SeparableBlur(in_shape=in_shape, height=height, width=width, rcond=rcond)


def _blur_matrix(taps: np.ndarray, size: int, boundary: Boundary) -> np.ndarray:
    """The (size, size) matrix that convolves one axis with an odd number of taps."""
    pad = len(taps) // 2
    # Each pixel's own row of the identity, continued beyond the border: the picture as a linear map.
    padded = np.pad(np.eye(size), ((pad, pad), (0, 0)), mode=pad_mode(boundary))  # (size + 2 pad, size)
    windows = [padded[2 * pad - j : 2 * pad - j + size] for j in range(len(taps))]
    return np.einsum("j,jik->ik", taps, np.stack(windows))


def _check_sum(kernel: Any, missing_axes: int, normalize: bool | None) -> None:
    """Raises ValueError unless each channel's kernel sums to what ``normalize`` needs."""
    values = numbers(kernel)  # (..., kh, kw, C), without C where the channels share it
    if values is None or normalize is False:
        return
    axes = (-2, -1) if missing_axes else (-3, -2)
    sums, sizes = values.sum(axes, dtype=float), np.abs(values).sum(axes, dtype=float)
    if (np.abs(sums) <= 1e-6 * sizes).any():
        raise ValueError(
            "blur: kernel sums to zero, so it cannot be normalised to sum 1. Pass normalize=False for a filter that is "
            "meant to remove the mean."
        )
    if normalize is None and (wrong := np.abs(sums - 1) > _SUM_TOLERANCE).any():
        raise ValueError(
            f"blur: kernel sums to {sums[wrong].flat[0]:.4g} but must sum to 1, so that the picture keeps its "
            "brightness. Give kernel / kernel.sum(), or say normalize=True, or normalize=False for any filter."
        )


def _check_rcond(name: str, rcond: float) -> None:
    if not 0 <= rcond < 1:
        raise ValueError(
            f"{name}: rcond is {rcond} but must be in [0, 1): the fraction of the largest singular value up to which "
            "others count as zero."
        )
