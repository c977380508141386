"""From k-space to inverse problems whose unknown suits a prior, and back."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from reddiff_jax.noise import gaussian
from reddiff_jax.operators import mri
from reddiff_jax.problems import Problem, pose
from reddiff_jax.scans.calibration import espirit, phase_factors, to_images
from reddiff_jax.scans.coils import noise_level, root_sum_of_squares
from reddiff_jax.scans.errors import ScanError
from reddiff_jax.scans.kspace import KSpace

_WHITE = 99  # percentile of the zero-filled magnitudes that becomes the pixel 1


@dataclass(frozen=True)
class MriSlice:
    """One slice posed as an inverse problem.

    Args (fields):
        problem: The unknown is (H, W, 1), twice the magnitude minus 1, or (H, W, 2), real and imaginary part.
        white: The magnitude that is 1.
        phase: (H, W) factors of absolute value 1 by which a real unknown was multiplied; None of a complex one.
    """

    problem: Problem
    white: float
    phase: np.ndarray | None

    def image(self, x: Array) -> np.ndarray:
        """(H, W) complex picture in the units of the scan, of a restored x."""
        channels = np.asarray(x)
        if self.phase is None:
            return self.white * (channels[..., 0] + 1j * channels[..., 1])
        return self.white * (channels[..., 0] + 1) / 2 * self.phase


def white_of(kspace: KSpace) -> float:
    """The 99th percentile of the magnitudes of all slices, zero-filled: of another scale a prior fits badly."""
    images = (root_sum_of_squares(to_images(values)) for values in kspace.values)
    white = float(np.percentile(np.stack(list(images)), _WHITE))
    if not white > 0:
        raise ScanError("k-space is 0 nearly everywhere, so it shows nothing.")
    return white


def pose_mri(
    kspace: KSpace,
    index: int = 0,
    *,
    white: float | None = None,
    sigma: float | None = None,
    maps: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    real: bool | None = None,
) -> MriSlice:
    """Poses one slice of a scan as an inverse problem in the range of a prior.

    Args:
        kspace: The scan.
        index: Of the slice.
        white: Magnitude that becomes 1; the default is ``white_of(kspace)``. One for all slices of a volume.
        sigma: Standard deviation of the noise of real and imaginary parts of k-space; from its corners if None.
        maps: Coil maps (H, W, K); if None by ``espirit`` where there are several coils.
        mask: (H, W), 1 = measured; if None ``kspace.sampling``.
        real: Whether the unknown is the magnitude, with the phase of the calibration lines in the maps: better for
            several coils, and what partial Fourier scans need. Default: for several coils.

    Raises:
        ScanError: If the scan does not allow it.
    """
    values = kspace.values[index]
    mask = kspace.sampling(index) if mask is None else _checked_mask(mask, values)
    values = np.where(mask[..., None] > 0, values, 0)
    white = white_of(kspace) if white is None else white
    sigma = noise_level(kspace, index) if sigma is None else sigma
    real = kspace.num_coils > 1 if real is None else real
    height, width, coils = values.shape
    if maps is None:
        maps = espirit(values, mask) if coils > 1 else np.ones_like(values)
    if np.shape(maps) != values.shape:
        raise ScanError(
            f"maps have shape {np.shape(maps)} but must have {values.shape}, the coils last: np.moveaxis(maps, 0, 2)."
        )
    if real:
        phase = phase_factors(values, mask, maps)
        operator = mri(mask, (height, width, 1), coil_maps=maps * phase[..., None])
        y = 2 * jnp.asarray(values) / white - operator(jnp.ones(operator.in_shape))
        return MriSlice(pose(y, operator, gaussian(2 * sigma / white)), white, phase)
    several = coils > 1
    operator = mri(mask, (height, width, 2), coil_maps=maps if several else None)
    y = jnp.asarray(values if several else values[..., 0]) / white
    return MriSlice(pose(y, operator, gaussian(sigma / white)), white, None)


def _checked_mask(mask: np.ndarray, values: np.ndarray) -> np.ndarray:
    mask, size = np.squeeze(np.asarray(mask)), values.shape[:2]
    if mask.shape == size[1:]:
        mask = np.broadcast_to(mask, size)
    if mask.shape != size or not np.isin(mask, (0, 1)).all():
        raise ScanError(f"mask has shape {mask.shape} but must be {size}, or {size[1:]} of columns, of 0 and 1.")
    wrong = ((mask > 0) & ~(values != 0).any(axis=2)).sum()
    if wrong > 0.5 * mask.sum():
        raise ScanError(
            f"the mask says that {int(mask.sum())} points are measured, but k-space is 0 in {wrong} of them. Is it "
            "another scan's, or not shifted to have DC in the middle? np.fft.fftshift(mask)."
        )
    return mask.astype(np.float32)
