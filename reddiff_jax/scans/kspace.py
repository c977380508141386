"""K-space as scanners write it: slices, coils, and what is known about them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reddiff_jax.scans.errors import ScanError

_MOST_COILS = 128


@dataclass(frozen=True)
class KSpace:
    """K-space of one or several slices, Cartesian, with DC in the middle.

    Args (fields):
        values: (S, H, W, K) complex64: slices, rows, columns, coils. What was not measured is 0.
        measured: (S, H, W) bool, where the scan measured; what is not 0 if None.
        crop: (h, w) of the middle of the picture that is wanted, where the readout was oversampled; None: all.
        noise: (N, K) samples of noise alone, if they were measured.
        spacing: Of slices, rows and columns, in mm; None if unknown.
        references: Reconstructions that the file has, (S, h, w) each: "rss", "esc".
        like: What the writer of the same format needs.
    """

    values: np.ndarray
    measured: np.ndarray | None = None
    crop: tuple[int, int] | None = None
    noise: np.ndarray | None = None
    spacing: tuple[float, float, float] | None = None
    references: Mapping[str, np.ndarray] = field(default_factory=dict)
    like: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", _checked(self.values))

    @property
    def num_coils(self) -> int:
        """Number of coils."""
        return self.values.shape[3]

    def sampling(self, index: int = 0) -> np.ndarray:
        """(H, W) float32 mask of one slice, 1 = measured: what the file says, or what is not 0 in some coil.

        Raises:
            ScanError: If nothing was measured.
        """
        mask = self.measured[index] if self.measured is not None else (self.values[index] != 0).any(axis=2)
        if not mask.any():
            raise ScanError(f"slice {index} of the k-space is all zeros, so nothing was measured.")
        return mask.astype(np.float32)

    def cropped(self, images: np.ndarray) -> np.ndarray:
        """The middle (S, h, w) of pictures (S, H, W)."""
        if self.crop is None:
            return images
        height, width = images.shape[1:]
        tall, wide = (min(wanted, side) for wanted, side in zip(self.crop, (height, width), strict=True))
        top, left = (height - tall) // 2, (width - wide) // 2
        return images[:, top : top + tall, left : left + wide]


def kspace_of_array(values: np.ndarray, *, coil_axis: int | None = None) -> KSpace:
    """K-space of an array (H, W), or of three axes of which one is the coils', or (S, K, H, W) as fastMRI has it.

    Args:
        values: Complex.
        coil_axis: Which of three axes the coils are, 0 or 2; None: the shorter one of them.

    Raises:
        ScanError: If the array is real, or it does not tell which axis is the coils'.
    """
    values = np.asarray(values)
    if values.ndim == 2:
        return KSpace(values[None, :, :, None])
    if values.ndim == 4:
        return KSpace(np.moveaxis(values, 1, 3))
    if values.ndim != 3:
        raise ScanError(
            f"k-space of shape {values.shape} came but must be (H, W), (H, W, coils), (coils, H, W) or (slices, coils, "
            "H, W)."
        )
    if coil_axis is None:
        first, last = values.shape[0], values.shape[2]
        if max(first, last) < 2 * min(first, last) or min(first, last) > _MOST_COILS:
            raise ScanError(
                f"k-space of shape {values.shape} does not tell whether the coils are first or last; save it as "
                "(slices, coils, H, W), with 1 where there is one slice or one coil."
            )
        coil_axis = 0 if first < last else 2
    return KSpace(np.moveaxis(values, coil_axis, 2)[None])


def _checked(values: Any) -> np.ndarray:
    values = np.asarray(values)
    if values.dtype.kind != "c":
        raise ScanError(
            f"k-space is complex but an array {values.dtype}{list(values.shape)} came. Magnitudes have lost the phase: "
            "save the complex numbers; of real and imaginary parts make them by a + 1j * b."
        )
    if values.ndim != 4 or 0 in values.shape:
        raise ScanError(f"k-space has shape {values.shape} but must be (slices, H, W, coils).")
    height, width, coils = values.shape[1:]
    if coils > _MOST_COILS or (coils > 4 and coils > 2 * max(height, width)):
        raise ScanError(
            f"k-space has shape {values.shape} as (slices, H, W, coils), which makes {coils} coils. Are the coils "
            "first? np.moveaxis(kspace, 1, 3)."
        )
    if not np.isfinite(values).all():
        raise ScanError(f"{np.sum(~np.isfinite(values))} of the entries of k-space are not finite.")
    return values.astype(np.complex64)
