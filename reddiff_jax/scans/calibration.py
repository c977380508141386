"""What k-space itself tells of a scan: the coils' sensitivities, and the picture's phase.

Coil maps are found from the fully measured middle of k-space by ESPIRiT. There a patch of k x k points of all coils is
a sum over pixels x of vectors ``u_x = S_c(x) exp(-i p x)``, p the place in the patch: all patches lie in the span of
these. With Pi the projection onto the patches' span, found by a singular value decomposition, ``Pi u_x = u_x`` says

    G(x) S(x) = S(x),    G_cc'(x) = k^-2 sum_pq exp(i (p - q) x) Pi_(c p)(c' q)

so that the maps at x are the eigenvector of G(x) of eigenvalue 1. Its terms depend on p - q only: they are summed
first, and one Fourier transform of (2 k - 1)^2 coefficients gives G at all pixels.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from reddiff_jax.scans.errors import ScanError

_KERNEL, _THRESHOLD = 6, 0.02  # side of a patch; singular values, relative to the largest, that belong to the span
_FEWEST, _MOST = 4, 32  # sides of the calibrated middle of k-space
_PIXELS = (0, 1)


def calibration_region(mask: Float[np.ndarray, "H W"]) -> tuple[slice, slice]:
    """Rows and columns of the largest block around DC that is measured whole, up to 32 in each direction.

    Raises:
        ScanError: If it is smaller than 4 x 4.
    """
    measured = np.asarray(mask) > 0
    height, width = measured.shape

    def block(tall: int, wide: int) -> tuple[slice, slice]:
        top, left = height // 2 - tall // 2, width // 2 - wide // 2
        return slice(top, top + tall), slice(left, left + wide)

    tall = wide = 0
    for size in range(1, min(_MOST, height, width) + 1):
        if measured[block(size, size)].all():
            tall = wide = size
    while tall and tall < min(_MOST, height) and measured[block(tall + 1, wide)].all():
        tall += 1
    while wide and wide < min(_MOST, width) and measured[block(tall, wide + 1)].all():
        wide += 1
    if min(tall, wide) < _FEWEST:
        raise ScanError(
            f"the middle of k-space has {tall} x {wide} points that are measured without gaps, but coil maps need at "
            f"least {_FEWEST} x {_FEWEST}. Give coil maps of another scan."
        )
    return block(tall, wide)


def espirit(
    kspace: Complex[np.ndarray, "H W K"], mask: Float[np.ndarray, "H W"], *, crop: float = 0.0
) -> Complex[np.ndarray, "H W K"]:
    """Coil maps from the calibration lines of one slice, whose squares sum to 1 in each pixel.

    Their phase is relative to the first coil's. Where there is no signal they say nothing, and are smooth.

    Args:
        kspace: Of all coils, DC in the middle.
        mask: What was measured.
        crop: Pixels whose eigenvalue is below this, which have no signal, get maps of 0: 0.95 is common. By default
            none do, so that the measurement says of the air that it is dark.

    Raises:
        ScanError: If there are no calibration lines.

    Source:
        Uecker et al. 2014, "ESPIRiT: an eigenvalue approach to autocalibrating parallel MRI", section 2.
    """
    height, width, coils = kspace.shape
    rows, columns = calibration_region(mask)
    calibration = kspace[rows, columns]  # (h, w, K)
    side = min(_KERNEL, (min(calibration.shape[:2]) + 1) // 2)
    patches = np.lib.stride_tricks.sliding_window_view(calibration, (side, side), axis=_PIXELS)  # (h', w', K, k, k)
    patches = patches.reshape(-1, coils * side**2)
    # Eigenvectors of the Gram matrix are right singular vectors, from a smaller matrix.
    squares, vectors = np.linalg.eigh(patches.T @ np.conj(patches))
    kept = vectors[:, squares > (_THRESHOLD**2) * squares[-1]]
    projection = (kept @ np.conj(kept.T)).reshape(coils, side, side, coils, side, side)
    summed = np.zeros((2 * side - 1, 2 * side - 1, coils, coils), np.complex64)  # over p - q
    for down, right in np.ndindex(side, side):
        rows, columns = (slice(side - 1 - q, 2 * side - 1 - q) for q in (down, right))
        summed[rows, columns] += np.moveaxis(projection[..., down, right], 0, 2)  # (k, k, K, K)
    padded = np.zeros((height, width, coils, coils), np.complex64)
    for place in np.ndindex(*summed.shape[:2]):
        padded[(place[0] - side + 1) % height, (place[1] - side + 1) % width] += summed[place]
    matrices = np.fft.fftshift(np.fft.ifft2(padded, axes=_PIXELS), _PIXELS) * (height * width / side**2)
    maps, values = map(np.asarray, _largest_eigenvectors(jnp.asarray(matrices, np.complex64)))
    first = maps[..., :1]
    maps = maps * np.conj(first) / np.maximum(np.abs(first), np.finfo(np.float32).tiny)
    return np.where(values[..., None] > crop, maps, 0).astype(np.complex64)


@jax.jit
def _largest_eigenvectors(matrices: Array) -> tuple[Array, Array]:
    """Eigenvectors (H, W, K) and eigenvalues (H, W) by 100 steps of the power method: LAPACK is slow on many."""

    def step(_: int, vectors: Array) -> Array:
        moved = jnp.einsum("hwij,hwj->hwi", matrices, vectors, precision=jax.lax.Precision.HIGHEST)
        return moved / jnp.maximum(jnp.linalg.norm(moved, axis=2, keepdims=True), jnp.finfo(jnp.float32).tiny)

    vectors = jax.lax.fori_loop(0, 100, step, jnp.ones(matrices.shape[:3], matrices.dtype))
    moved = jnp.einsum("hwij,hwj->hwi", matrices, vectors, precision=jax.lax.Precision.HIGHEST)
    return vectors, jnp.linalg.norm(moved, axis=2)


def phase_factors(
    kspace: Complex[np.ndarray, "H W K"], mask: Float[np.ndarray, "H W"], maps: Complex[np.ndarray, "H W K"]
) -> Complex[np.ndarray, "H W"]:
    """The phase ``z / |z|`` of a smooth picture of the calibration lines, by which coil maps are multiplied.

    The unknown is then nearly real, so that half of k-space tells the other half, as partial Fourier scans need it.
    """
    height, width = mask.shape
    rows, columns = calibration_region(mask)
    window = np.zeros((height, width))
    tall, wide = rows.stop - rows.start, columns.stop - columns.start
    window[rows, columns] = np.hanning(tall + 2)[1:-1, None] * np.hanning(wide + 2)[None, 1:-1]
    smooth = to_images(kspace * window[..., None])
    combined = (np.conj(maps) * smooth).sum(axis=2)
    size = np.abs(combined)
    return np.where(size > 0, combined / np.where(size > 0, size, 1), 1).astype(np.complex64)


def to_images(kspace: Complex[np.ndarray, "H W K"]) -> Complex[np.ndarray, "H W K"]:
    """Pictures of the coils, by the orthonormal centred Fourier transform."""
    moved = np.fft.ifft2(np.fft.ifftshift(kspace, _PIXELS), axes=_PIXELS, norm="ortho")
    return np.fft.fftshift(moved, _PIXELS).astype(np.complex64)
