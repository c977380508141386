"""Magnetic resonance imaging on a Cartesian grid: part of the Fourier transform is measured, by one or many coils.

The transform is orthonormal and centred: pixel (H // 2, W // 2) is the origin of the picture, and entry
(H // 2, W // 2) of k-space is DC, as in fastMRI. The unknown is complex, (H, W, 2) with the real and the imaginary
part, or real, (H, W, 1).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Complex, Float, Num

from reddiff_jax._checks import check_array, check_finite, check_image_shape, numbers
from reddiff_jax.operators._base import LinearOperator, SpectralOperator

_PIXELS = (0, 1)


@struct.dataclass
class SingleCoilMri(SpectralOperator):
    """``y = M F x`` of a complex picture; build it with ``mri``.

    Coefficients are the real and the imaginary part of k-space, with the mask for singular values: the pseudo-inverse
    is the adjoint, zero filling.
    """

    mask: jax.Array  # (H, W, 1), 1 = measured

    keeps_scale = True

    @property
    def observed(self) -> Float[Array, "H W"]:
        """The mask."""
        return self.mask[:, :, 0]

    @property
    def singulars(self) -> Float[Array, "H W 1"]:
        """The mask."""
        return self.mask

    def Vt(self, x: Float[Array, "H W 2"]) -> Float[Array, "H W 2"]:
        """Image to coefficients."""
        return to_channels(centered_fft(to_complex(x)), 2)

    def V(self, coefficients: Float[Array, "H W 2"]) -> Float[Array, "H W 2"]:
        """Coefficients to image."""
        return to_channels(centered_ifft(to_complex(coefficients)), 2)

    def Ut(self, y: Complex[Array, "H W"]) -> Float[Array, "H W 2"]:
        """Coefficients are the measured entries."""
        return self.mask * to_channels(y, 2)

    def U(self, coefficients: Float[Array, "H W 2"]) -> Complex[Array, "H W"]:
        """Measured entries are coefficients."""
        return to_complex(self.mask * coefficients)


@struct.dataclass
class RealMri(SpectralOperator):
    """``y = M F x`` of a real picture; build it with ``mri``.

    The spectrum of a real x is symmetric, F x (-k) = conj F x (k), so an entry tells its mirror image too:
    A^T A = Q diag((M(k) + M(-k)) / 2) Q with the real Hartley transform Q = Re F - Im F = Q^T = Q^-1. Hence V = Q,
    S = sqrt((M(k) + M(-k)) / 2) in {0, sqrt(1/2), 1} and U = M F Q S^+.
    """

    mask: jax.Array  # (H, W, 1), 1 = measured

    keeps_scale = True

    @property
    def observed(self) -> Float[Array, "H W"]:
        """The mask."""
        return self.mask[:, :, 0]

    @property
    def singulars(self) -> Float[Array, "H W 1"]:
        """One where an entry and its mirror image are measured, sqrt(1/2) where one of them is."""
        shift = [
            1 - side % 2 for side in self.mask.shape[:2]
        ]  # the first frequency of an even axis has no mirror image
        mirrored = jnp.roll(jnp.flip(self.mask, _PIXELS), shift, _PIXELS)
        return jnp.sqrt((self.mask + mirrored) / 2)

    def Vt(self, x: Float[Array, "H W 1"]) -> Float[Array, "H W 1"]:
        """Hartley transform."""
        spectrum = centered_fft(x)
        return spectrum.real - spectrum.imag

    def V(self, coefficients: Float[Array, "H W 1"]) -> Float[Array, "H W 1"]:
        """Hartley transform, which is its own inverse."""
        return self.Vt(coefficients)

    def Ut(self, y: Complex[Array, "H W"]) -> Float[Array, "H W 1"]:
        """Measurement to coefficients."""
        return self._divide(self.Vt(self.adjoint(y)))

    def U(self, coefficients: Float[Array, "H W 1"]) -> Complex[Array, "H W"]:
        """Coefficients to measurement."""
        return self(self.V(self._divide(coefficients)))

    def __call__(self, x: Float[Array, "H W 1"]) -> Complex[Array, "H W"]:
        """Measures one image."""
        return (self.mask * centered_fft(x))[:, :, 0]

    def adjoint(self, y: Complex[Array, "H W"]) -> Float[Array, "H W 1"]:
        """The real part of zero filling."""
        return centered_ifft(self.mask * y[:, :, None]).real

    def _divide(self, coefficients: Array) -> Array:
        """Applies S^+."""
        s = self.singulars
        return jnp.where(s > 0, coefficients / jnp.where(s > 0, s, 1.0), 0.0)


@struct.dataclass
class MultiCoilMri(LinearOperator):
    """``y_c = M F (S_c x)``, c = 1 ... coils; build it with ``mri``.

    ``pinv`` is that of ``LinearOperator``, a few steps of conjugate gradients: iterative SENSE.
    """

    mask: jax.Array  # (H, W, 1), 1 = measured
    coil_maps: jax.Array  # (H, W, coils), complex

    keeps_scale = True

    @property
    def observed(self) -> Float[Array, "H W 1"]:
        """The mask."""
        return self.mask

    def __call__(self, x: Float[Array, "H W C"]) -> Complex[Array, "H W coils"]:
        """Measures one image."""
        return self.mask * centered_fft(self.coil_maps * to_complex(x)[:, :, None])

    def adjoint(self, y: Complex[Array, "H W coils"]) -> Float[Array, "H W C"]:
        """Combines the coils' zero-filled pictures: ``sum_c conj(S_c) F^H (M y_c)``."""
        combined = jnp.sum(jnp.conj(self.coil_maps) * centered_ifft(self.mask * y), axis=2)  # (H, W)
        return to_channels(combined, self.in_shape[2])


def mri(
    mask: Num[Array, "H W *C"] | Bool[Array, "H W *C"] | np.ndarray,
    in_shape: tuple[int, int, int],
    *,
    coil_maps: Num[Array, "H W coils"] | np.ndarray | None = None,
) -> SingleCoilMri | RealMri | MultiCoilMri:
    """Cartesian MRI, ``y_c = M F (S_c x)``: masked orthonormal Fourier transforms, with DC in the middle (fastMRI's).

    y is complex and dense, with zeros where nothing is measured: (H, W), or (H, W, coils) with ``coil_maps``. One coil
    has an exact decomposition, for complex and for real unknowns. Many coils have an explicit adjoint and an iterative
    pseudo-inverse. A mask and maps for each image:
    ``jax.vmap(lambda mask, maps: rd.mri(mask, in_shape, coil_maps=maps))(masks, maps)``.

    Args:
        mask: ``(H, W)`` or ``(H, W, 1)``; 1 or True = measured, for instance of ``rd.masks.cartesian``.
        in_shape: ``(H, W, 2)`` for a complex picture as real and imaginary part, ``(H, W, 1)`` for a real one.
        coil_maps: Sensitivities ``(H, W, coils)``, for instance simulated ``coil_maps``; one coil of sensitivity 1 if
            None. Squares that sum to 1 in each pixel keep the singular values at most 1.

    Raises:
        ValueError: If a shape does not fit, or the mask has values other than 0 and 1.

    Source:
        Zbontar et al. 2018, fastMRI (arXiv 1811.08839), for the conventions; Pruessmann et al. 2001, "Advances in
        sensitivity encoding with arbitrary k-space trajectories", for iterative SENSE.
    """
    in_shape = check_complex_shape("mri", in_shape)
    size = in_shape[:2]
    check_array("mri: mask", mask, f"an array {size} of 0 (not measured) and 1 (measured); in_shape comes after it")
    if np.shape(mask) not in (size, (*size, 1)):
        raise ValueError(
            f"mri: mask has shape {np.shape(mask)} but must be {size} or {(*size, 1)} for in_shape={in_shape}. A line "
            "mask (W,) goes by jnp.broadcast_to(mask, (H, W)); for a batch use jax.vmap over the masks."
        )
    values = numbers(mask)
    if values is not None and not np.isin(values, (0, 1)).all():
        raise ValueError(
            f"mri: mask has values from {values.min()} to {values.max()} but must be 0 (not measured) or 1 (measured). "
            "Threshold it first, for example mask > 0.5."
        )
    mask = jnp.asarray(mask, dtype=float).reshape(*size, 1)
    if coil_maps is not None:
        return MultiCoilMri(in_shape=in_shape, mask=mask, coil_maps=check_coil_maps("mri", coil_maps, in_shape))
    if in_shape[2] == 2:
        return SingleCoilMri(in_shape=in_shape, mask=mask)
    return RealMri(in_shape=in_shape, mask=mask)


def centered_fft(x: Array) -> Array:
    """Orthonormal Fourier transform of the first two axes, origin and DC in the middle."""
    return _centered(jnp.fft.fft2, x)


def centered_ifft(y: Array) -> Array:
    """Inverse, and adjoint, of ``centered_fft``."""
    return _centered(jnp.fft.ifft2, y)


def _centered(transform: Callable[..., Array], x: Array) -> Array:
    height, width = x.shape[:2]
    if height % 2 or width % 2:
        moved = transform(jnp.fft.ifftshift(x, _PIXELS), axes=_PIXELS, norm="ortho")
        return jnp.fft.fftshift(moved, _PIXELS)
    # Half a period of an even axis is a change of sign from entry to entry, before and after: no shift moves memory.
    indices = [jax.lax.broadcasted_iota(jnp.int32, (height, width, *[1] * (x.ndim - 2)), axis) for axis in _PIXELS]
    sign = (1 - 2 * ((indices[0] + indices[1]) % 2)).astype(jnp.real(x).dtype)
    return (-1) ** (height // 2 + width // 2) * sign * transform(sign * x, axes=_PIXELS, norm="ortho")


def to_complex(x: Float[Array, "H W C"]) -> Complex[Array, "H W"]:
    """Real and imaginary channels, or a real channel alone, as complex numbers."""
    return jax.lax.complex(x[:, :, 0], x[:, :, 1] if x.shape[2] == 2 else jnp.zeros_like(x[:, :, 0]))


def to_channels(z: Num[Array, "H W"], channels: int) -> Float[Array, "H W C"]:
    """Complex numbers as real and imaginary channels; with one channel the real part: the adjoint of ``to_complex``."""
    return jnp.stack([jnp.real(z), jnp.imag(z)][:channels], axis=2)


def check_complex_shape(name: str, in_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Returns ``in_shape`` as (H, W, 1) or (H, W, 2), or raises ValueError."""
    in_shape = check_image_shape(f"{name}: in_shape", in_shape)
    if in_shape[2] not in (1, 2):
        raise ValueError(
            f"{name}: in_shape is {in_shape} but the unknown is (H, W, 2), real and imaginary part, or (H, W, 1), "
            "real. Colours are not measured by MRI: take one channel."
        )
    return in_shape


def check_coil_maps(name: str, coil_maps: Any, in_shape: tuple[int, int, int]) -> Complex[Array, "H W coils"]:
    """Returns the maps as complex numbers, or raises ValueError."""
    check_array(f"{name}: coil_maps", coil_maps, f"an array {in_shape[:2]} + (coils,)")
    check_finite(f"{name}: coil_maps", coil_maps)
    shape = np.shape(coil_maps)
    if len(shape) != 3 or shape[:2] != in_shape[:2] or shape[2] < 1:
        raise ValueError(
            f"{name}: coil_maps has shape {shape} but must be {in_shape[:2]} + (coils,), the coils last. Files with "
            "the coils first: jnp.moveaxis(maps, 0, 2); for a batch use jax.vmap."
        )
    return jnp.asarray(coil_maps, dtype=complex)
